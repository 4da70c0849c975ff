"""Names of repositories on the Hugging Face Hub, by the Hub's own rules."""

from __future__ import annotations

import re
from typing import Any

from ..parsing import text

_HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?", re.ASCII)


def hub_repo(value: Any) -> str:
    """``owner/name``; ``ValueError`` with the reason where the Hub would refuse it."""
    repo = text(value)
    parts = repo.split("/")
    if len(parts) != 2 or not all(_HUB_NAME.fullmatch(part) for part in parts):
        raise ValueError(
            "owner/name is expected, each of at most 96 letters, digits, dots, dashes and underscores, without -- and "
            ".., beginning and ending with a letter, digit or underscore"
        )
    if repo.endswith((".git", ".ipynb")):
        raise ValueError("a name that ends in .git or .ipynb is refused by the Hub")
    return repo
