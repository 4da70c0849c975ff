"""A small file into memory: the same gates as for any other, and a bound."""

from __future__ import annotations

import pytest

from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.fetch import Fetcher
from tests.support.outputs import OutputServer, cut_after, status

DATA = bytes(range(251)) * 100


async def test_whole(fetcher: Fetcher, server: OutputServer) -> None:
    server.files["/x.png"] = DATA
    assert await fetcher.small(f"{server.url}/x.png", len(DATA)) == DATA
    assert await fetcher.small("data:image/png;base64,AAEC", 10) == b"\0\1\2"


async def test_too_large(fetcher: Fetcher, server: OutputServer) -> None:
    server.files["/x.png"] = DATA
    with pytest.raises(Permanent, match="more than"):
        await fetcher.small(f"{server.url}/x.png", len(DATA) - 1)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://evil.example/x.png", "file:///etc/passwd"])
async def test_from_nowhere_else(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(Permanent, match="refused"):
        await fetcher.small(url, 100)


async def test_what_fails(fetcher: Fetcher, server: OutputServer) -> None:
    server.files["/x.png"] = DATA
    server.script["/x.png"] = [status(404), cut_after(DATA, 100)]
    with pytest.raises(Permanent, match="404"):
        await fetcher.small(f"{server.url}/x.png", len(DATA))
    with pytest.raises(Retry):
        await fetcher.small(f"{server.url}/x.png", len(DATA))
