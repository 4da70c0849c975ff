"""Which bytes are there: against a plain set of byte numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.spans import Spans

PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


@given(PAIRS)
def test_as_a_set_would(pairs: list[tuple[int, int]]) -> None:
    spans = Spans(pairs)
    there = {number for start, end in pairs for number in range(start, end)}
    assert spans.covered == len(there)
    assert spans.prefix == next(number for number in range(42) if number not in there)
    missing = {number for start, end in spans.gaps(40) for number in range(start, end)}
    assert missing == set(range(40)) - there
    listed = spans.list()
    assert all(a[1] < b[0] for a, b in pairwise(listed))  # sorted, none touching another
    assert Spans(listed).list() == listed


def test_gaps_behind_the_end() -> None:
    assert Spans([(10, 50)]).gaps(20) == [(0, 10)]
    assert Spans().gaps(0) == []
