"""The list of ranges: what is used of it, and everything that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.cloud_ranges import Ranges, Refused, is_older, large_change, parse_ranges

WEST = ["us-west1"]


def page(*entries: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"syncToken": "1753409788780", "prefixes": list(entries), **more}).encode()


def v4(prefix: str, scope: str = "us-west1") -> dict[str, str]:
    return {"ipv4Prefix": prefix, "service": "Google Cloud", "scope": scope}


def v6(prefix: str, scope: str = "us-west1") -> dict[str, str]:
    return {"ipv6Prefix": prefix, "service": "Google Cloud", "scope": scope}


def test_only_the_wanted_scopes_count() -> None:
    body = page(v6("2600:1900:4040::/44"), v4("34.82.0.0/15"), v4("34.1.208.0/20", "africa-south1"), v4("34.3.96.0/20"))
    found = parse_ranges(body, WEST)
    assert found == Ranges(("34.3.96.0/20", "34.82.0.0/15", "2600:1900:4040::/44"), 1753409788780)
    assert parse_ranges(body, ["africa-south1"]) == Ranges(("34.1.208.0/20",), 1753409788780)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "no list"),
        (b'{"prefixes": {}}', "no list"),
        (page(), "no prefix of us-west1"),
        (page(v4("34.1.208.0/20", "africa-south1")), "no prefix of us-west1"),
        (page(v4("34.82.0.0/15"), v4("nonsense")), "no network"),
        (page(v4("34.82.0.1/15")), "no network"),
        (page(v4("2600:1900:4040::/44")), "other kind"),
        (page(v6("34.82.0.0/15")), "other kind"),
        (page(v4("0.0.0.0/0")), "too large"),
        (page(v4("34.0.0.0/7")), "too large"),
        (page(v6("2600::/19")), "too large"),
        (page({**v4("34.82.0.0/15"), **v6("2600:1900:4040::/44")}), "exactly one"),
        (page({"scope": "us-west1"}), "exactly one"),
        (page({"ipv4Prefix": "34.82.0.0/15"}), "no scope"),
        (page({"ipv4Prefix": 7, "scope": "us-west1"}), "exactly one"),
        (b'{"prefixes": ' + b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    found = parse_ranges(body, WEST)
    assert isinstance(found, Refused)
    assert reason in found.reason


def test_one_missing_scope_of_several_is_refused() -> None:
    found = parse_ranges(page(v4("34.82.0.0/15")), ["us-west1", "us-west9"])
    assert found == Refused("it holds no prefix of us-west9")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ipv4Prefix", "scope"]), inner),
    max_leaves=8,
)


@given(st.binary() | st.builds(lambda found: json.dumps({"prefixes": found}).encode(), _JSON))
def test_any_bytes_give_an_answer(body: bytes) -> None:
    assert isinstance(parse_ranges(body, WEST), Ranges | Refused)


def test_an_older_list_is_known_by_its_token() -> None:
    one, other = Ranges(("10.0.0.0/8",), 1), Ranges(("10.0.0.0/8",), 2)
    assert is_older(other, one)
    assert not is_older(one, other)
    assert not is_older(one, one)
    assert not is_older(one, Ranges(("10.0.0.0/8",)))


@pytest.mark.parametrize(
    ("networks", "large"),
    [
        (["34.82.0.0/15", "34.3.96.0/20"], False),
        (["34.82.0.0/16"], False),
        (["34.82.0.0/17"], True),
        (["34.80.0.0/14"], False),
        (["34.0.0.0/12"], True),
    ],
)
def test_a_large_change_is_told(networks: list[str], large: bool) -> None:
    found = large_change(Ranges(("34.82.0.0/15",)), Ranges(tuple(networks)))
    assert (found is not None) == large
