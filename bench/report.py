"""Tables for people, limits for the exit code."""

from __future__ import annotations

import msgspec


class Table(msgspec.Struct):
    title: str
    head: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        shown = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.title, shown[0], "-" * len(shown[0]), *shown[1:]])


class Limit(msgspec.Struct):
    """One figure and what it has to reach."""

    what: str
    value: float | None  # None: it was not measured
    at_least: float | None = None
    at_most: float | None = None

    @property
    def held(self) -> bool:
        if self.value is None:
            return True
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def row(self) -> list[str]:
        wanted = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        if self.value is None:
            return [self.what, "-", wanted, "NOT MEASURED"]
        return [self.what, f"{self.value:.3g}", wanted, "held" if self.held else "MISSED"]


def limits_table(limits: list[Limit]) -> Table:
    return Table("Limits", ["what", "value", "limit", ""], [limit.row() for limit in limits])
