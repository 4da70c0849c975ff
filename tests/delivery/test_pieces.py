"""One large file over several connections: what it asks for, what it believes, what it does when that goes wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from daemon.delivery import download
from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.fetch import Fetcher
from daemon.delivery.limits import Limits
from daemon.delivery.origins import Origins
from tests.delivery.pieces import DATA, PIECE, on_range, ranges, spoil
from tests.support.fetching import answer, attempt, fetcher_for, redirect, until_done
from tests.support.outputs import OutputServer, arrived, etag, names, output_server, sha256, status

pytestmark = pytest.mark.usefixtures("small_pieces")


async def test_each_byte_is_asked_for_once(piecewise: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    fetched = await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (fetched.bytes, fetched.sha256) == (len(DATA), sha256(DATA))
    assert (tmp_path / "x").read_bytes() == DATA
    asked = ranges(server)
    assert asked == [(at, min(at + PIECE, len(DATA)) - 1) for at in range(PIECE, len(DATA), PIECE)]
    assert {headers.get("If-Range") for headers in server.seen("/x")[1:]} == {etag(DATA)}
    assert "Range" not in server.seen("/x")[0]
    assert names(tmp_path) == ["x"]


async def test_several_connections_at_once_but_no_more_than_allowed(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    running, all_here = 0, asyncio.Event()

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal running
        running += 1
        assert running <= 4
        if running == 4:
            all_here.set()
        async with asyncio.timeout(20):
            await all_here.wait()  # nobody is answered before
        running -= 1
        return server.answer(request)

    server.script["/x"] = [lambda request: asyncio.sleep(0, server.answer(request)), *[count] * 12]
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA


@pytest.mark.parametrize("headers", [{"Accept_Ranges": "none"}, {}, {"Accept_Ranges": "bytes", "ETag": 'W/"x"'}])
async def test_in_one_go_where_pieces_cannot_be_had_or_proved(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.script["/x"] = [answer(DATA, **headers)]
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert len(server.requests) == 1 and (tmp_path / "x").read_bytes() == DATA


async def test_ranges_that_are_ignored(piecewise: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    """It says that it gives parts, and sends the whole each time: once more then, in one go."""
    whole = answer(DATA, Accept_Ranges="bytes", ETag=etag(DATA))
    server.script["/x"] = [whole] * 30
    reasons = await until_done(piecewise, f"{server.url}/x", tmp_path / "x")
    assert reasons == ["the server ignores ranges; starting over"]
    assert (tmp_path / "x").read_bytes() == DATA
    assert "Range" not in server.seen("/x")[-1]


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-999999/12000345", "bytes 3000000-3999998/12000345", "bytes 3000000-3999999/99000000", "bytes */1", ""],
)
async def test_a_wrong_part_is_not_believed(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, content_range: str
) -> None:
    spoil(server, 3 * PIECE, answer(b"x" * PIECE, 206, Content_Range=content_range, ETag=etag(DATA)))
    reasons = await until_done(piecewise, f"{server.url}/x", tmp_path / "x")
    assert reasons == ["the server answered with another part than asked for; starting over"]
    assert (tmp_path / "x").read_bytes() == DATA


async def test_another_file_in_between(piecewise: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    """The ETag changes while pieces are fetched: nothing of the one is mixed with the other."""
    other = DATA[::-1]

    async def change(request: web.Request) -> web.StreamResponse:
        server.files["/x"] = other
        return server.answer(request)  # 200: If-Range no longer holds

    spoil(server, 5 * PIECE, change)
    reasons = await until_done(piecewise, f"{server.url}/x", tmp_path / "x")
    assert reasons == ["the file has changed meanwhile; starting over"]
    assert (tmp_path / "x").read_bytes() == other


async def test_another_etag_on_a_part(piecewise: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    """A server that does not honour If-Range, but says whose part it is."""
    part = DATA[::-1][5 * PIECE : 6 * PIECE]
    told = f"bytes {5 * PIECE}-{6 * PIECE - 1}/{len(DATA)}"
    spoil(server, 5 * PIECE, answer(part, 206, Content_Range=told, ETag='"another"'))
    assert len(await until_done(piecewise, f"{server.url}/x", tmp_path / "x")) == 1
    assert (tmp_path / "x").read_bytes() == DATA


async def test_a_piece_that_is_cut_is_continued_by_another_connection(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        begin = 4 * PIECE
        headers = {
            "Content-Range": f"bytes {begin}-{begin + PIECE - 1}/{len(DATA)}",
            "Content-Length": str(PIECE),
            "ETag": etag(DATA),
        }
        response = web.StreamResponse(status=206, headers=headers)
        await response.prepare(request)
        await response.write(DATA[begin : begin + PIECE // 2])
        assert request.transport is not None
        await arrived(request.transport)
        request.transport.abort()
        return response

    spoil(server, 4 * PIECE, cut)
    assert await until_done(piecewise, f"{server.url}/x", tmp_path / "x") == []
    assert (tmp_path / "x").read_bytes() == DATA
    assert (4 * PIECE + PIECE // 2, 5 * PIECE - 1) in ranges(server)


@pytest.mark.parametrize("code", [429, 503])
async def test_a_server_that_wants_fewer_connections_gets_fewer(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, code: int
) -> None:
    spoil(server, 2 * PIECE, status(code, Retry_After="600"))
    assert await until_done(piecewise, f"{server.url}/x", tmp_path / "x") == []
    assert (tmp_path / "x").read_bytes() == DATA


async def test_when_all_are_turned_away_the_server_is_obeyed(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    server.script["/x"] = [
        lambda request: asyncio.sleep(0, server.answer(request)),
        *[status(429, Retry_After="7")] * 20,
    ]
    with pytest.raises(Retry, match="429") as caught:
        await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert caught.value.after == 7
    server.script.clear()
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert server.seen("/x")[-1]["If-Range"] == etag(DATA)


async def test_pieces_come_from_where_the_address_leads(server: OutputServer, tmp_path: Path) -> None:
    """The redirect is followed once, not for each piece; where its target expires, the address is asked again."""
    async with output_server() as storage:
        storage.files["/there"] = DATA
        server.script["/x"] = [redirect(f"{storage.url}/there")] * 2
        storage.script["/there"] = [on_range(storage, 5 * PIECE, status(403))]
        origins = Origins(server.url, (storage.url,))
        async with fetcher_for(origins, limits=Limits(connections=1)) as fetcher:
            reasons = await until_done(fetcher, f"{server.url}/x", tmp_path / "x")
        assert len(reasons) == 1 and "403" in reasons[0] and "redirected" in reasons[0]
        assert (tmp_path / "x").read_bytes() == DATA
        assert len(server.requests) == 2
        assert all("Authorization" not in headers for _path, headers in storage.requests)


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/x", "https://replicate.delivery/x", "http://127.0.0.1:1/x"]
)
async def test_a_piece_that_leads_away_is_refused(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, location: str
) -> None:
    """Every request is checked as the first one is."""
    spoil(server, 3 * PIECE, redirect(location))
    with pytest.raises(Permanent, match="refused"):
        await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


async def test_one_connection_that_is_quick_is_enough(
    piecewise: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ENOUGH", 0)
    running = most = 0

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return server.answer(request)

    server.script["/x"] = [count] * 13
    await attempt(piecewise, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA and most == 1 and len(server.requests) == 13
