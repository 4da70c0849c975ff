"""Reading prediction objects: what is needed is read, whatever else they hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.prediction import parse_prediction, parse_time

RECORDED = (
    b'{"completed_at":"2025-06-08T12:06:20.383588891Z","created_at":"2025-06-08T12:06:15.127Z","data_removed":false,'
    b'"error":null,"id":"vcscvthbaxrm80cq9xqtcbaw4m","input":{"prompt":"x"},"logs":"Using seed: 7710683\\n",'
    b'"metrics":{"image_count":1,"predict_time":5.247161016},"model":"black-forest-labs/flux-kontext-pro",'
    b'"output":"https://replicate.delivery/xezq/tmp.png","started_at":"2025-06-08T12:06:15.136427877Z",'
    b'"status":"succeeded","urls":{"get":"https://api.replicate.com/v1/predictions/vcscvthbaxrm80cq9xqtcbaw4m"},'
    b'"version":"hidden","webhook":"https://example.com/","webhook_events_filter":["start"]}'
)


def test_a_recorded_body() -> None:
    prediction = parse_prediction(RECORDED)
    assert prediction is not None
    assert (prediction.id, prediction.status) == ("vcscvthbaxrm80cq9xqtcbaw4m", "succeeded")
    assert prediction.predict_time == 5.247161016
    assert prediction.output == b'"https://replicate.delivery/xezq/tmp.png"'
    assert prediction.completed_at == pytest.approx(1749384380.383588)
    assert prediction.logs == "Using seed: 7710683\n"


@pytest.mark.parametrize(
    ("body", "logs"),
    [
        (b'{"id":"a","status":"processing","logs":"cut \\ud83d"}', "cut \ufffd"),
        (b'{"id":"a","status":"processing","logs":"ok","metrics":{"loss":NaN,"x":-Infinity}}', "ok"),
        (b'{"id":"a","status":"processing","logs":"\xff"}', "\ufffd"),
        (b'\xef\xbb\xbf{"id":"a","status":"processing","logs":"marked"}', "marked"),
        (b'{"id":"a","status":"processing","logs":"far","metrics":{"predict_time":1e999}}', "far"),
        (b'{"id":"a","status":"processing","logs":"many","metrics":{"predict_time":%s}}' % (b"9" * 400), "many"),
        (b'{"id":"a","status":"processing","logs":"more","error":{"code":%s}}' % (b"9" * 40), "more"),
        (b' {"id":"a","status":"processing","logs":5,"model":[],"metrics":1,"urls":null,"error":{"a":1}}', ""),
    ],
)
def test_nearly_json_and_odd_types_are_read_all_the_same(body: bytes, logs: str) -> None:
    prediction = parse_prediction(body)
    assert prediction is not None
    assert prediction.predict_time is None
    assert prediction.logs == logs
    prediction.logs.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"id":1,"status":"x"}',
        b'{"id":"","status":"x"}',
        b'{"id":"a"}',
        b'{"id":"a\\u0000","status":"x"}',
        b'{"id":"' + b"a" * 201 + b'","status":"x"}',
        b'{"id":"a","status":""}',
        b"{" * 100_000,
        b'{"id":"a","status":"x"',
    ],
)
def test_what_is_no_prediction(body: bytes) -> None:
    assert parse_prediction(body) is None


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(body: bytes) -> None:
    parse_prediction(body)


_SCALARS = st.none() | st.floats() | st.text() | st.integers(-(10**400), 10**400)


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_value_in_any_place_gives_an_answer(value: object) -> None:
    places = [{key: value} for key in ("logs", "output", "error", "metrics", "urls", "created_at", "model")]
    for place in (*places, {"metrics": {"predict_time": value}}):
        body = json.dumps({"id": "a", "status": "processing", **place}).encode()
        assert parse_prediction(body) is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T00:00:01Z", 1.0), ("1970-01-01T00:00:01.5", 1.5), ("1970-01-01T00:00:00.123456789Z", 0.123456)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("value", [None, 5, "", "yesterday", "2024-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59"])
def test_what_is_no_time(value: object) -> None:
    assert parse_time(value) is None
