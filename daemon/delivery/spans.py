"""Which bytes of a file are there: half-open spans, sorted, none touching another."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]  # first byte, first byte behind


class Spans:
    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans: list[Span] = []
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """``start`` to ``end`` are there now (some of them perhaps before)."""
        if start >= end:
            return
        apart: list[Span] = []
        for low, high in self._spans:
            if high < start or low > end:
                apart.append((low, high))
            else:
                start, end = min(start, low), max(end, high)
        self._spans = sorted([*apart, (start, end)])

    def gaps(self, total: int) -> list[Span]:
        """What is missing of ``total`` bytes, in order."""
        found, at = [], 0
        for start, end in [*self._spans, (total, total)]:
            if at < min(start, total):
                found.append((at, min(start, total)))
            at = max(at, end)
        return found

    @property
    def prefix(self) -> int:
        """Bytes that are there from the beginning without a gap."""
        return self._spans[0][1] if self._spans and self._spans[0][0] == 0 else 0

    @property
    def covered(self) -> int:
        """Bytes that are there in all."""
        return sum(end - start for start, end in self._spans)

    def list(self) -> list[Span]:
        return list(self._spans)
