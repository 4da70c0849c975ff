"""What commands print: results on standard output, remarks on standard error, nothing that could move a cursor."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

# C0, DEL, C1, bidirectional overrides and lone surrogates: what a terminal obeys rather than shows.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CSI_OR_OSC = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)")


def clean(value: object, keep: str = "") -> str:
    """``value`` as text in which control characters are shown as escapes; those in ``keep`` stay."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), str(value))


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def harmless_log(text: str) -> str:
    """Log text for a terminal: line ends, returns and tabs stay, escape sequences go."""
    return clean(_CSI_OR_OSC.sub("", text), keep="\r\n\t")


def print_json(value: Any) -> None:
    """One JSON document on one line: pipes and ``jq`` read it, and nothing in it can reach the terminal raw."""
    print(json.dumps(value), flush=True)


def remark(message: str) -> None:
    """A line on standard error."""
    print(clean(message, keep="\n\t"), file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table: ruled and coloured on a terminal, aligned columns without cut-off text elsewhere."""
    cells = [[clean("-" if cell is None or cell == "" else cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from .tables import show

        show(columns, cells)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in (columns, *cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def fields(pairs: Sequence[tuple[str, object]]) -> None:
    """``name: value`` lines, aligned; what is ``None`` is left out."""
    known = [(name, value) for name, value in pairs if value is not None and value != ""]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        print(f"{name + ':':<{width + 1}} {clean(value)}")


def moment(value: Any) -> str:
    """A time of the API (RFC 3339 text or unix seconds) in local time, to the second."""
    try:
        when = datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else datetime.fromisoformat(value)
        return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError, OverflowError, OSError):
        return "-" if value is None else str(value)


def duration(seconds: Any) -> str:
    """``1:02:03`` or ``2:03``."""
    if not isinstance(seconds, (int, float)):
        return "-"
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def size(count: Any) -> str:
    """Bytes for people."""
    if not isinstance(count, (int, float)):
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def dollars(value: Any) -> str:
    """``$2.41``; below a cent, which is still more than nothing, ``<$0.01``: as the page says it."""
    if not isinstance(value, (int, float)):
        return "-"
    return "<$0.01" if 0 < value < 0.01 else f"${value:,.2f}"
