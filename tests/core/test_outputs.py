"""Any output shape: which strings are files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.outputs import MAX_DEPTH, OutputFile, find_files, is_address, suggested_name

A = "https://replicate.delivery/xezq/abc/out.png"
B = "https://replicate.delivery/xezq/def/out.png"


def urls(output: Any) -> list[str]:
    return [file.url for file in find_files(json.dumps(output))]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, [A]),
        ([A, B], [A, B]),
        ([A, A, {"x": A}], [A]),
        ({"vocals": A, "no_vocals": B}, [A, B]),
        ([{"file": A}, {"file": B}], [A, B]),
        ({"a": [[{"b": {"c": [B]}}]], "d": A, "e": 1.5, "f": True, "g": None}, [B, A]),
        ({"version": "acme/lora:5c7d", "weights": A}, [A]),
        ("data:image/png;base64,iVBORw0KGgo=", ["data:image/png;base64,iVBORw0KGgo="]),
        ("data:,x", ["data:,x"]),
        ("http://169.254.169.254/latest", ["http://169.254.169.254/latest"]),
        ("file:///etc/passwd", ["file:///etc/passwd"]),
        ("ftp://replicate.delivery/x", ["ftp://replicate.delivery/x"]),
        ("GOPHER://127.0.0.1:6379/_x", ["GOPHER://127.0.0.1:6379/_x"]),
        ({"stream": "wss://stream.example/x", "weights": "https://a/b"}, ["https://a/b"]),
        (f"see {A}", []),
        (f"{A} and more", []),
        (f"{A}\n", []),
        (["data:", " a", "https:", "//", "https://"], []),
        ("hello Alice", []),
        (None, []),
        (42, []),
        ({}, []),
    ],
)
def test_shapes(output: Any, expected: list[str]) -> None:
    assert urls(output) == expected


@pytest.mark.parametrize("broken", ["", "{", b"\xff", '"\\ud800"', "[" * 100_000 + "]" * 100_000])
def test_what_is_no_output_has_no_files(broken: str | bytes) -> None:
    assert find_files(broken) == []


def test_depth_is_capped() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + json.dumps(A) + "]" * depth

    assert find_files(nested(MAX_DEPTH)) != []
    assert find_files(nested(MAX_DEPTH + 1)) == []


@pytest.mark.parametrize(
    ("url", "key", "name"),
    [
        (A, "", "out.png"),
        (A, "image", "out.png"),
        (f"{A}?X-Goog-Signature=ab.cd#x", "", "out.png"),
        ("https://storage.googleapis.com/replicate-files/abc/file", "vocals", "vocals"),
        ("https://storage.googleapis.com/replicate-files/abc/file", "", "file"),
        ("https://replicate.delivery/a/my%20model.tar", "", "my model.tar"),
        ("https://replicate.delivery/a/..%2f..%2fetc%2fpasswd", "", "../../etc/passwd"),
        ("https://replicate.delivery", "", ""),
        ("data:image/png;base64,AAAA", "", "output.png"),
        ("data:image/png;base64,AAAA", "mask", "mask.png"),
        ("data:,x", "", "output"),
    ],
)
def test_the_name_that_a_file_would_like_to_have(url: str, key: str, name: str) -> None:
    assert suggested_name(url, key) == name


def test_a_list_under_a_key_is_named_by_it() -> None:
    found = find_files(json.dumps({"stems": ["https://replicate.delivery/a/file"]}))
    assert found == [OutputFile("https://replicate.delivery/a/file", "stems")]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([A, B]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON)
def test_total_and_each_address_once(output: Any) -> None:
    found = urls(output)
    assert len(found) == len(set(found))
    assert all(is_address(url) for url in found)
    assert set(found) & {A, B} == flat(output) & {A, B}


def flat(output: Any) -> set[str]:
    """Every string value, by the obvious recursion."""
    if isinstance(output, str):
        return {output}
    inner = output.values() if isinstance(output, dict) else output if isinstance(output, list) else ()
    return set().union(*map(flat, inner))


@given(st.binary())
def test_any_bytes_give_an_answer(raw: bytes) -> None:
    assert isinstance(find_files(raw), list)
