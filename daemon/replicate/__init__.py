"""Everything that talks to Replicate."""
