"""The command line, as tests/cli has it."""

from tests.cli.conftest import start, tunerd

__all__ = ["start", "tunerd"]
