"""One file over HTTP: resume, checks, limits."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from aiohttp import web

from daemon.delivery import download, hashing, limits, staging, wire
from daemon.delivery.errors import Gone, Permanent, Retry
from daemon.delivery.fetch import Fetcher
from daemon.delivery.origins import Origins
from daemon.delivery.staging import Part
from tests.support.fetching import answer, attempt, fetcher_for, until_done
from tests.support.outputs import OutputServer, cut_after, goog_hash, output_server, sha256, slow, status

DATA = bytes(range(251)) * 20_000  # 5 MB


async def test_whole(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    server.files["/x.bin"] = DATA
    fetched = await attempt(fetcher, f"{server.url}/x.bin", tmp_path / "s" / "x.bin")
    assert (fetched.bytes, fetched.sha256) == (len(DATA), sha256(DATA))
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["x.bin"]
    assert (tmp_path / "s" / "x.bin").read_bytes() == DATA
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


async def test_empty_and_without_a_length(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(DATA)
        return response

    server.files["/empty"] = b""
    server.script["/chunked"] = [chunked]
    assert (await attempt(fetcher, f"{server.url}/empty", tmp_path / "empty")).bytes == 0
    assert (await attempt(fetcher, f"{server.url}/chunked", tmp_path / "chunked")).sha256 == sha256(DATA)


async def test_a_cut_is_resumed_where_it_was(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    server.files["/x.bin"] = DATA
    server.script["/x.bin"] = [cut_after(DATA, 2_000_000)]
    reasons = await until_done(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")
    assert len(reasons) == 1 and "connection" in reasons[0]
    assert (tmp_path / "x.bin").read_bytes() == DATA
    resumed = server.seen("/x.bin")[1]
    assert 0 < int(resumed["Range"].removeprefix("bytes=").removesuffix("-")) <= 2_000_000
    assert resumed["If-Range"].startswith('"')


async def test_a_crash_resumes_at_the_last_sync(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "SYNC_BYTES", 1_000_000)
    server.files["/x.bin"] = DATA
    server.script["/x.bin"] = [cut_after(DATA, 4_000_000, **{"x-goog-hash": goog_hash(DATA)})]
    with pytest.raises(Retry):
        await attempt(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")
    with (tmp_path / ".x.bin.part").open("ab") as part:
        part.write(b"\0" * 4096)  # what a power loss leaves after the last sync
    assert (await attempt(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")).sha256 == sha256(DATA)
    assert int(server.seen("/x.bin")[1]["Range"].removeprefix("bytes=").removesuffix("-")) >= 1_000_000


async def test_another_file_behind_the_address_starts_over(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path
) -> None:
    other = DATA[::-1]
    server.files["/x.bin"] = other  # answers 200 to the ranged request: If-Range does not match
    server.script["/x.bin"] = [cut_after(DATA, 1_000_000)]
    await until_done(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == other


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-99/5020000",
        "bytes 1000000-2000000/5020000",
        "bytes 1000000-5019999/9999999",
        "bytes */5020000",
        "",
        "x",
    ],
)
async def test_a_wrong_part_starts_over(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, content_range: str
) -> None:
    server.files["/x.bin"] = DATA
    server.script["/x.bin"] = [cut_after(DATA, 1_000_000), answer(b"x" * 100, 206, Content_Range=content_range)]
    reasons = await until_done(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")
    assert "starting over" in reasons[1]
    assert (tmp_path / "x.bin").read_bytes() == DATA
    assert "Range" not in server.seen("/x.bin")[2]


async def test_without_a_validator_nothing_is_resumed(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    server.files["/x.bin"] = DATA
    server.script["/x.bin"] = [cut_after(DATA, 1_000_000, ETag='W/"weak"')]
    await until_done(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")
    assert "Range" not in server.seen("/x.bin")[1]
    assert (tmp_path / "x.bin").read_bytes() == DATA


async def test_wrong_md5(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    server.files["/x.bin"] = DATA
    server.script["/x.bin"] = [answer(DATA[::-1], x_goog_hash=goog_hash(DATA))]
    reasons = await until_done(fetcher, f"{server.url}/x.bin", tmp_path / "x.bin")
    assert len(reasons) == 1 and "MD5" in reasons[0]
    assert (tmp_path / "x.bin").read_bytes() == DATA


@pytest.mark.parametrize("code", [500, 502, 503, 504, 408, 416, 425, 429])
async def test_may_work_later(fetcher: Fetcher, server: OutputServer, tmp_path: Path, code: int) -> None:
    server.script["/x"] = [status(code, Retry_After="7")]
    with pytest.raises(Retry, match=str(code)) as caught:
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    assert caught.value.after == 7


@pytest.mark.parametrize("code", [401, 403, 404, 410])
async def test_gone(fetcher: Fetcher, server: OutputServer, tmp_path: Path, code: int) -> None:
    server.script["/x"] = [status(code)]
    with pytest.raises(Gone, match=str(code)):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


async def test_never(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    server.script["/x"] = [status(204), status(400), answer(b"x", Content_Encoding="gzip")]
    for reason in ("204", "400", "gzip"):
        with pytest.raises(Permanent, match=reason):
            await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


async def test_a_silent_server(server: OutputServer, tmp_path: Path) -> None:
    server.script["/x"] = [slow(DATA, 1000, 5.0)]
    async with fetcher_for(Origins(server.url, ()), idle_seconds=0.2) as fetcher:
        with pytest.raises(Retry, match=r"nothing came for 0\.2 s"):
            await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


async def test_nobody_there(tmp_path: Path) -> None:
    async with output_server() as other:
        url = other.url
    async with fetcher_for(Origins(url, ())) as fetcher:
        with pytest.raises(Retry, match="connection failed"):
            await attempt(fetcher, f"{url}/x", tmp_path / "x")


async def test_a_huge_length_is_refused(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    async def huge(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10**15)})
        await response.prepare(request)
        await response.write(b"x" * 1000)
        return response

    server.script["/x"] = [huge]
    with pytest.raises(Permanent, match="refused: the server announces 1000000000000000 bytes"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    assert (tmp_path / ".x.part").stat().st_size == 0


async def test_more_than_the_cap_without_a_length(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 2_000_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(DATA)

    server.script["/x"] = [endless]
    with pytest.raises(Permanent, match="longer than"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


async def test_a_full_disk_is_waited_for(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/x"] = DATA
    monkeypatch.setattr(limits, "free_bytes", lambda _folder: staging.RESERVE + 100)
    with pytest.raises(Retry, match="not enough disk space"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    monkeypatch.undo()
    await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


async def test_a_file_that_has_its_name_is_whole_though_the_folder_could_not_be_synced_at_once(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next attempt finds no part to give a name to."""
    server.files["/x"] = DATA
    part = await asyncio.to_thread(Part, tmp_path / "x", f"{server.url}/x")

    def broken(_folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(staging, "sync_directory", broken)
        with pytest.raises(Retry, match="Input/output error"):
            await fetcher.attempt(f"{server.url}/x", part)
    fetched = await fetcher.attempt(f"{server.url}/x", part)
    await asyncio.to_thread(part.close)
    assert (fetched.bytes, fetched.sha256) == (len(DATA), sha256(DATA))
    assert (tmp_path / "x").read_bytes() == DATA
    assert len(server.requests) == 1


async def test_the_loop_does_nothing_that_takes_long(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading, writing, hashing and syncing happen in threads. (How long the loop is held up: see the benchmarks.)"""
    seen: dict[str, set[bool]] = {}

    def watched(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def watch(*arguments: object) -> object:
            seen.setdefault(name, set()).add(threading.current_thread() is threading.main_thread())
            return real(*arguments)

        monkeypatch.setattr(owner, name, watch)

    for owner, name in [(os, "pwrite"), (os, "preadv"), (os, "fdatasync"), (os, "fsync"), (os, "ftruncate")]:
        watched(owner, name)
    watched(hashing.Hashes, "update")
    watched(wire.Reply, "read_into")
    watched(wire.Connection, "get")
    server.files["/x"] = DATA
    await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    assert len(seen) == 8
    assert set().union(*seen.values()) == {False}
