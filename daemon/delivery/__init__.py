"""From a finished job to its files where the user wants them."""
