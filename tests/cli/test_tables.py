"""Tables on terminals of every width: nothing is lost, no word is broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cli.jobs import delivery_word
from daemon.cli.tables import fitting, show

WORD = "job_" + "a" * 26
ROWS = [[WORD, "completed", "local delivered, bucket trying again"], [WORD, "failed", "-"]]
COLUMNS = ["job", "status", "delivered"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_word_is_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    show(COLUMNS, ROWS)
    words = capsys.readouterr().out.replace("\n", " ").split()
    assert [words.count(one) for one in (WORD, "completed", "delivered,", "trying", "again")] == [2, 1, 1, 1, 1]


def test_a_wide_terminal_has_a_row_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show(COLUMNS, ROWS)
    head, rule, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == COLUMNS and set(rule) == {"─"}
    assert first.split() == [WORD, "completed", "local", "delivered,", "bucket", "trying", "again"]
    assert head.index("delivered") == first.index("local") == second.index("-")


@given(
    st.lists(st.lists(st.text("ab ", max_size=12), min_size=2, max_size=2), min_size=1, max_size=4), st.integers(1, 60)
)
def test_what_fits_has_room_for_every_word(columns: list[list[str]], room: int) -> None:
    widths = fitting(columns, room)
    least = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    gaps = 2 * (len(columns) - 1)
    if widths is None:
        assert sum(least) + gaps > room
    else:
        assert sum(widths) + gaps <= room and all(had >= need for had, need in zip(widths, least, strict=True))


@pytest.mark.parametrize(
    ("status", "error", "word"),
    [
        ("running", None, "running"),
        ("running", "no such bucket", "trying again"),
        ("pending", "no such bucket", "trying again"),
        ("failed", "no such bucket", "failed"),
        ("delivered", None, "delivered"),
    ],
)
def test_a_delivery_that_is_tried_again_says_so(status: str, error: str | None, word: str) -> None:
    assert delivery_word({"status": status, "error": error}) == word
