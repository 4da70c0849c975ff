"""Numbers as people read them."""

from __future__ import annotations

import pytest

from daemon.web.pages import words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, words.NONE),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_500_000, "1.4 MiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, words.NONE), (-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"),
     (3600, "1 h 00 min"), (86_399, "23 h 59 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, words.NONE), (0, "$0.00"), (0.001, "<$0.01"), (2.414, "$2.41"), (12_345.6, "$12,345.60")],
)
def test_money(amount: float | None, text: str) -> None:
    assert words.usd(amount) == text


def test_others() -> None:
    assert (words.number(10_000), words.number(None)) == ("10,000", words.NONE)
    assert (words.short("a" * 13), words.short("a" * 14), words.short(None)) == ("a" * 13, "a" * 12 + "…", words.NONE)
