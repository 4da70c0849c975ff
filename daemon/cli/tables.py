"""Tables on a terminal. No word is ever broken: an id or a path that is can neither be read nor copied.

Columns of several words are folded between them until the table fits. Where it does not fit even so, each row becomes
a block: its first cell, and below it the others with their names.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console
from rich.text import Text

_GAP = 2  # blanks between columns
_STYLES = {
    "completed": "green",
    "delivered": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
}


def show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print it, as wide as the terminal is."""
    console = Console()
    widths = fitting([list(column) for column in zip(columns, *rows, strict=True)], console.width)
    if widths is None:
        lines = [line for row in rows for line in _block(columns, row, console.width)]
    else:
        rule = Text("─" * (sum(widths) + _GAP * (len(widths) - 1)))
        lines = [*_lines(columns, widths, bold=True), rule, *(line for row in rows for line in _lines(row, widths))]
    for line in lines:
        console.print(line, soft_wrap=True)


def fitting(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """A width for each column, so that all fit into ``room`` characters; ``None`` where a word would be broken."""
    widths = [max(map(len, column)) for column in columns]
    least = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    for _ in range(sum(widths) + _GAP * (len(widths) - 1) - room):
        place = max(range(len(widths)), key=lambda one: widths[one] - least[one])
        if widths[place] == least[place]:
            return None
        widths[place] -= 1
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], *, bold: bool = False) -> list[Text]:
    folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [
        Text(" " * _GAP).join(
            Text(piece.ljust(width), style="bold" if bold else _STYLES.get(cell, ""))
            for piece, width, cell in zip(pieces, widths, row, strict=True)
        )
        for pieces in zip_longest(*folded, fillvalue="")
    ]


def _folded(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]


def _block(columns: Sequence[str], row: Sequence[str], width: int) -> list[Text]:
    lines = [""]
    for name, cell in zip(columns[1:], row[1:], strict=True):
        if cell == "-":
            continue
        pair = f"  {name}: {cell}" if name else f"  {cell}"
        if lines[-1] and len(lines[-1]) + len(pair) > width:
            lines.append("")
        lines[-1] += pair
    return [Text(row[0], style="bold"), *(Text(line) for line in lines if line)]
