"""How a version of a model is named: by its id, or as ``owner/name:id``."""

from __future__ import annotations

import re
from typing import Any

from .. import parsing


def split_version(value: Any) -> tuple[str | None, str]:
    """``(owner/name or None, id)``. Raises ``ValueError`` with a reason."""
    name, colon, id_ = parsing.text(value).rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", id_):
        raise ValueError("a version's id, or owner/name:id, is expected")
    return (parsing.model(name) if colon else None), id_


def version(value: Any) -> str:
    """The name in canonical form. Raises ``ValueError`` with a reason."""
    owner, id_ = split_version(value)
    return id_ if owner is None else f"{owner}:{id_}"
