"""Command line: a parser and one file per command."""
