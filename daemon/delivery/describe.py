"""The destinations' options as tables: ``python -m daemon.delivery.describe docs/destinations.md`` writes them there.

Between ``<!-- options: TYPE -->`` and ``<!-- /options -->``; a test compares them. A type without a place is appended.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from ..core.options import Field, OptionType
from .destinations.base import types

_BLOCK = "<!-- options: {name} -->\n\n{table}\n\n<!-- /options -->"
_PLACE = r"<!-- options: {name} -->.*?<!-- /options -->"


def table(kind: OptionType) -> str:
    """One row for each option."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    rows += [f"| `{field.name}` | {_default(field)} | {_meaning(field)} |" for field in kind.fields.values()]
    return "\n".join(rows)


def with_tables(document: str, kinds: dict[str, OptionType]) -> str:
    """``document`` with each table as it is now."""
    for name, kind in kinds.items():
        block = _BLOCK.format(name=name, table=table(kind))
        found = re.compile(_PLACE.format(name=re.escape(name)), re.DOTALL)
        if found.search(document):
            document = found.sub(lambda _, block=block: block, document)  # type: ignore[misc]
        else:
            document = f"{document.rstrip()}\n\n## `{name}`\n{kind.description}\n\n{block}\n"
    return document


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if field.default is None or field.default == ():
        return "none"
    return f"`{msgspec.json.encode(field.default).decode()}`".replace('"', "")


def _meaning(field: Field) -> str:
    text = f"{field.title}. {field.description}".replace("|", "\\|").strip()
    return f"{text} Write-only." if field.secret else text


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        path.write_text(with_tables(path.read_text(encoding="utf-8"), types()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
