"""Byte ranges of a log (RFC 9110, 14.1.2), and positions in a growing text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.web.api.logs import parse_range
from daemon.web.stream import LogTail


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (None, None),
        ("bytes=0-3", range(4)),
        ("bytes=4-", range(4, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-30", range(10)),
        ("bytes=5-500", range(5, 10)),
        ("BYTES=0-0", range(1)),
        ("bytes=10-", range(0)),
        ("bytes=-0", range(0)),
        ("bytes=3-1", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=²-", None),
    ],
)
def test_what_a_range_asks_of_ten_bytes(header: str | None, wanted: range | None) -> None:
    found = parse_range(header, 10)
    assert found == wanted
    assert (found is None) == (wanted is None)


@given(st.text(max_size=200), st.integers(0, 900), st.lists(st.integers(0, 200), max_size=4))
def test_a_tail_resumed_anywhere_gives_the_rest(text: str, offset: int, cuts: list[int]) -> None:
    whole = text.encode("utf-8", "replace")
    tail = LogTail(offset)
    received = b""
    start = None
    for cut in [*sorted(cuts), len(text)]:
        for chunk in tail.growth(text[:cut]):
            start = chunk.offset if start is None else start
            assert chunk.offset == start + len(received)
            received += chunk.text.encode("utf-8", "replace")
    if start is None:
        assert received == b""
        assert offset >= len(whole)
    else:
        assert start <= offset < start + 4  # at most the beginning of the character that was cut
        assert whole[start:] == received
        assert tail.offset == len(whole)
