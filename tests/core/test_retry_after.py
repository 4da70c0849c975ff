"""Seconds to wait, as servers say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.retry_after import seconds


@pytest.mark.parametrize(("text", "wait"), [("0", 0.0), ("120", 120.0), (" 7 ", 7.0)])
def test_a_number_of_seconds(text: str, wait: float) -> None:
    assert seconds(text) == wait


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "٣", "1e3", "inf", "9" * 400, "Fri, 31 Dec 2027 23:59:59 GMT"])
def test_what_is_not_one_says_nothing(text: str) -> None:
    assert seconds(text) is None


@given(st.text())
def test_any_text_gives_an_answer(text: str) -> None:
    seconds(text)
