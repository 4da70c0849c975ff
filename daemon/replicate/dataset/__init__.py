"""Local datasets: found in a dataloader configuration, listed, packed, uploaded once; never sent as paths."""
