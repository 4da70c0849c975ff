"""JSON from outside that need not be any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.lenient_json import object_, value


def test_json_is_read() -> None:
    assert value(b'{"a": [1, null]}') == {"a": [1, None]} == object_('{"a": [1, null]}')
    assert value("null", "default") is None
    assert object_("[1]") == {} == object_("null")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'"\xff"', '"\ud800"', b"[" * 100_000, "x"])
def test_what_is_not_json_is_the_default(text: bytes | str) -> None:
    assert value(text) is None
    assert value(text, "default") == "default"
    assert object_(text) == {}


@given(st.one_of(st.binary(), st.text()))
def test_anything_gives_an_answer(text: bytes | str) -> None:
    value(text)
