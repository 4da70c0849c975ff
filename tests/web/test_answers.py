"""Bodies are read strictly, and a refusal names the field."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import InvalidJson, InvalidRequest
from daemon.web.answers import decode_json


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Body(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Inner]
    count: int = 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"items":[],"count":"x"}', "count"),
        (b'{"items":[{"name":1}]}', "items[0].name"),
        (b'{"items":[{"name":"a","more":1}]}', "items[0].more"),
        (b'{"items":[],"other":1}', "other"),
        (b"{}", "items"),
        (b"[]", None),
    ],
)
def test_a_refusal_names_the_field(body: bytes, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_json(body, Body)
    assert refused.value.extra["field"] == field


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"items":["\xff"]}', b"[" * 100_000, b"nul", b'{"count":"x",', b"[1"]
)
def test_what_is_not_json_is_told(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        decode_json(body, Body)


@given(st.binary(max_size=60))
def test_total(body: bytes) -> None:
    with contextlib.suppress(InvalidJson, InvalidRequest):
        decode_json(body, Body)
