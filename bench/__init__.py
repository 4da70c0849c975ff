"""The benchmarks: `make bench` runs all in one go and fails where a limit is missed. Not part of the wheel."""
