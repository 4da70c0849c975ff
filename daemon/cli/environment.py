"""What the client commands read of the environment; the daemon's settings are read by ``config``."""

from __future__ import annotations

import os

# What a process needs of its surroundings; tokens, proxies and settings of the user are not among it.
_SURROUNDINGS = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")


def variable(name: str) -> str:
    """The variable's value without surrounding blanks, empty where it is not set."""
    return os.environ.get(name, "").strip()


def whole() -> dict[str, str]:
    """All of it but our own settings, for a program of the user's: its accounts and proxies are in there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TUNERD_", "REPLICATE_"))}


def surroundings() -> dict[str, str]:
    """The part of the environment that holds nobody's settings."""
    return {name: os.environ[name] for name in _SURROUNDINGS if name in os.environ}
