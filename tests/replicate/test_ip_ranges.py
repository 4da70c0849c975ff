"""The feed of ranges: asked no more than needed, and nothing it does leaves the rule empty."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpServer

from daemon.replicate import ip_ranges
from daemon.replicate.ip_ranges import RangesFeed
from tests.support.clock import Clock

GOOD = ["34.82.0.0/15", "34.105.0.0/17"]


def page(networks: list[str], token: int = 10, scope: str = "us-west1") -> bytes:
    prefixes = [{"ipv4Prefix": network, "service": "Google Cloud", "scope": scope} for network in networks]
    return json.dumps({"syncToken": str(token), "prefixes": prefixes}).encode()


class Google:
    """Answers as the real feed does: with an ETag, and 304 where it is known."""

    def __init__(self) -> None:
        self.body = page(GOOD)
        self.status = 200
        self.seen: list[int] = []  # statuses answered
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        etag = f'"{hash(self.body)}"'
        status = 304 if self.status == 200 and request.headers.get("If-None-Match") == etag else self.status
        self.seen.append(status)
        return web.Response(status=status, body=None if status == 304 else self.body, headers={"ETag": etag})


@pytest.fixture
async def google(aiohttp_server: AiohttpServer) -> Google:
    found = Google()
    app = web.Application()
    app.router.add_get("/cloud.json", found.answer)
    server = await aiohttp_server(app)
    found.url = str(server.make_url("/cloud.json"))
    return found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def make(session: aiohttp.ClientSession, google: Google, folder: Path, **more: Any) -> RangesFeed:
    wanted = more.pop("wanted", lambda: ("us-west1",))
    return RangesFeed(
        session, google.url, folder / "ip-ranges.json", wanted, now=more.pop("now", Clock(1_767_600_000.0))
    )


def networks(feed: RangesFeed) -> list[str]:
    return [] if feed.state.ranges is None else list(feed.state.ranges.networks)


async def test_an_unchanged_list_is_not_sent_again(google: Google, session, tmp_path: Path) -> None:
    clock = Clock(1_767_600_000.0)
    feed = make(session, google, tmp_path, now=clock)
    first = await feed.refresh()
    clock.now += 100
    second = await feed.refresh()
    assert google.seen == [200, 304]
    assert networks(feed) == GOOD
    assert second.fetched_at == first.fetched_at
    assert second.checked_at == clock.now


async def test_a_start_without_network_has_the_last_good_list(google: Google, session, tmp_path: Path) -> None:
    await make(session, google, tmp_path).refresh()
    google.status = 503
    feed = make(session, google, tmp_path)
    state = await feed.refresh()
    assert networks(feed) == GOOD
    assert state.error is not None
    assert "503" in state.error
    assert (tmp_path / "ip-ranges.json").is_file()


@pytest.mark.parametrize("body", [b"", b"<html>", page([]), page(["0.0.0.0/0"]), page(GOOD, scope="us-east1")])
async def test_nothing_bad_takes_the_place_of_the_last_good_list(
    google: Google, session, tmp_path: Path, body: bytes
) -> None:
    feed = make(session, google, tmp_path)
    await feed.refresh()
    google.body = body
    state = await feed.refresh()
    assert networks(feed) == GOOD
    assert state.error is not None
    again = make(session, google, tmp_path)  # nor on disk
    await again.refresh()
    assert networks(again) == GOOD


async def test_a_list_without_end_is_not_read(google: Google, session, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ip_ranges, "MAX_BYTES", 100_000)
    google.body = b" " * 200_000
    feed = make(session, google, tmp_path)
    state = await feed.refresh()
    assert state.ranges is None
    assert state.error is not None
    assert "longer" in state.error


@pytest.mark.parametrize("body", [page(["34.82.0.0/18"], 11), page(["34.0.0.0/10"], 11)])
async def test_a_large_change_waits_to_be_accepted(google: Google, session, tmp_path: Path, body: bytes) -> None:
    feed = make(session, google, tmp_path)
    await feed.refresh()
    google.body = body
    for _ in range(2):
        state = await feed.refresh()
        assert networks(feed) == GOOD
        assert state.alarm is not None
        assert "--accept" in state.alarm
    state = await feed.refresh(accept=True)
    assert (networks(feed) != GOOD, state.alarm) == (True, None)


async def test_an_older_list_from_some_cache_is_not_taken(google: Google, session, tmp_path: Path) -> None:
    feed = make(session, google, tmp_path)
    await feed.refresh()
    google.body = page([*GOOD, "34.127.0.0/17"], 9)
    state = await feed.refresh()
    assert networks(feed) == GOOD
    assert state.error is not None
    assert "older" in state.error


async def test_another_scope_is_read_from_the_same_list(google: Google, session, tmp_path: Path) -> None:
    entries = [*json.loads(page(GOOD))["prefixes"], *json.loads(page(["34.1.0.0/20"], scope="asia-east1"))["prefixes"]]
    google.body = json.dumps({"syncToken": "11", "prefixes": entries}).encode()
    scopes = ["us-west1"]
    feed = make(session, google, tmp_path, wanted=lambda: scopes)
    await feed.refresh()
    scopes[:] = ["asia-east1"]
    await feed.refresh()
    assert networks(feed) == ["34.1.0.0/20"]
    assert google.seen == [200, 304]


async def test_a_damaged_copy_is_no_copy(google: Google, session, tmp_path: Path) -> None:
    (tmp_path / "ip-ranges.json").write_bytes(b'{"url": 7')
    feed = make(session, google, tmp_path)
    await feed.refresh()
    assert networks(feed) == GOOD


async def test_a_disk_that_takes_no_copy_is_no_reason_to_do_without(google: Google, session, tmp_path: Path) -> None:
    feed = make(session, google, tmp_path / "missing")
    await feed.refresh()
    assert networks(feed) == GOOD
