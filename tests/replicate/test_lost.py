"""Which recent job is ours: the marker decides, likeness only where there is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.replicate.lost import alike, marked, marker
from daemon.replicate.outgoing import REDACTED, Dataset, Outgoing, decode, encode, redacted

AT = 1_767_600_000.0  # 2026-01-05T08:00:00Z
OURS = Outgoing(
    kind="prediction",
    model="a/b",
    version="v1",
    destination=None,
    input={"prompt": "x", "hf_token": "hf_" + "t" * 30, "scale": 1.0},
    webhook=None,
)


def item(**more: Any) -> dict[str, Any]:
    base = {"id": "p1", "model": "a/b", "version": "v1", "created_at": "2026-01-05T08:00:01Z", "input": OURS.input}
    return {**base, **more}


@pytest.mark.parametrize(
    ("webhook", "found"),
    [
        ("https://h/api/webhooks/replicate?job=job_1", "job_1"),
        ("https://h/?x=1&job=job_1&job=job_2", "job_1"),
        ("https://h/", ""),
        ("https://[broken", ""),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_marker(webhook: Any, found: str | None) -> None:
    assert marker({"webhook": webhook}) == found


def test_somebody_else_s_images_are_not_taken_for_a_removed_input() -> None:
    """The archive's URL is unknown and left out of the comparison; what is left is not what was removed."""
    ours = msgspec.structs.replace(OURS, datasets=(Dataset("cats", "/data/cats"),))
    assert alike([item(input={**OURS.input, "images": "https://x"})], ours, AT)
    assert alike([item(input={})], ours, AT)
    assert not alike([item(input={"images": "https://x"})], ours, AT)


def test_marked_needs_an_id() -> None:
    url = "https://h/?job=job_1"
    assert marked([{"webhook": url}, {"id": "p", "webhook": url}], "job_1") == {"id": "p", "webhook": url}
    assert marked([{"id": "p", "webhook": url}], "job_2") is None


@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({}, True),
        ({"input": {"prompt": "x", "hf_token": "**********", "scale": 1}}, True),
        ({"input": {"prompt": "y", "hf_token": "**********", "scale": 1}}, False),
        ({"input": {"prompt": "x", "scale": 1}}, False),
        ({"input": None}, False),
        ({"version": "hidden"}, True),
        ({"version": "v2"}, False),
        ({"created_at": "2026-01-05T07:59:10Z"}, True),  # a clock that is behind
        ({"created_at": "2026-01-05T07:58:00Z"}, False),  # began before we asked
        ({"created_at": None}, False),
        ({"webhook": "https://h/?job=another"}, False),
        ({"webhook": "https://somebody.else/"}, False),
        ({"id": None}, False),
        ({"input": {}, "data_removed": True}, True),
        ({"input": {}, "data_removed": True, "created_at": "2026-01-05T08:30:00Z"}, False),
    ],
)
def test_alike(changes: dict[str, Any], ours: bool) -> None:
    assert bool(alike([item(**changes)], OURS, AT)) is ours


def test_alike_without_a_version() -> None:
    official = Outgoing(kind="prediction", model="a/b", version=None, destination=None, input={"p": 1}, webhook=None)
    assert alike([item(input={"p": 1}, model="replicate/routed", version="hidden")], official, AT)
    empty = Outgoing(kind="prediction", model="a/b", version=None, destination=None, input={}, webhook=None)
    assert not alike([item(input={}, model="c/d")], empty, AT)
    assert alike([item(input={}, model="a/b")], empty, AT)


def test_the_oldest_comes_first() -> None:
    late, early = item(id="late", created_at="2026-01-05T08:00:09Z"), item(id="early")
    assert [found["id"] for found in alike([late, early], OURS, AT)] == ["early", "late"]


def test_the_exact_request_is_kept_apart_only_where_it_holds_secrets() -> None:
    shown, exact = encode(OURS)
    assert exact is not None
    assert decode(exact) == OURS
    assert decode(shown).input["hf_token"] == REDACTED
    plain = Outgoing(
        kind="prediction", model="a/b", version="v", destination=None, input={"max_tokens": 5}, webhook=None
    )
    assert encode(plain)[1] is None


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ({"hf_token": "x"}, {"hf_token": REDACTED}),
        ({"--aws_secret_access_key": "x"}, {"--aws_secret_access_key": REDACTED}),
        ({"apiKey": "x", "api-key": "x"}, {"apiKey": REDACTED, "api-key": REDACTED}),
        ({"secrets": ["x", {"a": "y"}]}, {"secrets": [REDACTED, {"a": "y"}]}),
        ({"token": None, "password": "", "secret": 5}, {"token": None, "password": "", "secret": 5}),
        ({"tokenizer_max_length": "77", "trigger_word": "x"}, {"tokenizer_max_length": "77", "trigger_word": "x"}),
        ({"config_json": '{"a":{"hf_token":"x"}}'}, {"config_json": '{"a":{"hf_token":"[redacted]"}}'}),
        ({"config_json": '{ "a": 1 }'}, {"config_json": '{ "a": 1 }'}),
        ({"prompt": "{not json"}, {"prompt": "{not json"}),
        ("https://me:pass@example.com/x", f"https://{REDACTED}@example.com/x"),
        ("hf_" + "a" * 30, REDACTED),
        ("see whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!", f"see {REDACTED}!"),
        (5, 5),
    ],
)  # fmt: skip
def test_redacted(value: Any, clean: Any) -> None:
    assert redacted(value) == clean


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_redacting_twice_is_redacting_once(value: Any) -> None:
    once = redacted(value)
    assert redacted(once) == once
