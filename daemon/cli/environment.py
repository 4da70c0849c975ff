"""What the client commands read of the environment; the daemon's settings are read by ``config``."""

from __future__ import annotations

import os

# What a process needs of its surroundings; tokens, proxies and settings of the user are not among it.
_SURROUNDINGS = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "COVERAGE_PROCESS_START")


def variable(name: str) -> str:
    """The variable's value without surrounding blanks, empty where it is not set."""
    return os.environ.get(name, "").strip()


def surroundings() -> dict[str, str]:
    """The part of the environment that holds nobody's settings."""
    return {name: os.environ[name] for name in _SURROUNDINGS if name in os.environ}
