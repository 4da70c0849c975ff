"""data: URIs."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.delivery import data_uri
from daemon.delivery.data_uri import decode_data, shortened
from daemon.delivery.errors import Permanent
from daemon.delivery.fetch import Fetcher
from tests.support.fetching import attempt
from tests.support.outputs import sha256


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:,hello%20there", b"hello there"),
        ("data:text/plain;charset=utf-8,%C3%A9", "é".encode()),
        ("data:text/plain;base64,aGk=", b"hi"),
        ("data:text/plain;base64,aGk", b"hi"),
        ("DATA:;BASE64,aGk%3D", b"hi"),
        ("data:image/png;base64,", b""),
    ],
)
async def test_data_uris(fetcher: Fetcher, tmp_path: Path, url: str, content: bytes) -> None:
    assert decode_data(url) == content
    assert (await attempt(fetcher, url, tmp_path / "x")).sha256 == sha256(content)
    assert (tmp_path / "x").read_bytes() == content


@pytest.mark.parametrize("url", ["data:text/plain;base64,%%%", "data:text/plain;base64,a", "data:text/plain"])
def test_broken_data_uris(url: str) -> None:
    with pytest.raises(Permanent):
        decode_data(url)


def test_a_data_uri_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_uri, "MAX_DATA_BYTES", 30)
    with pytest.raises(Permanent, match="too large"):
        decode_data("data:," + "x" * 100)


def test_data_uris_are_shown_short() -> None:
    assert shortened("data:image/png;base64," + "A" * 1000) == "data:image/png;base64,… (1000 characters)"
    assert shortened("https://replicate.delivery/x?y") == "https://replicate.delivery/x?y"
