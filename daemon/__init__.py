"""tunerd: the daemon that closes the loop of cloud training on Replicate."""
