"""One file over HTTP: resume, checks, redirects, limits, and who gets the token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daemon.delivery import fetch, staging
from daemon.delivery.errors import Gone, Permanent, Retry
from daemon.delivery.fetch import Fetcher, decode_data, shortened
from daemon.delivery.origins import Origins
from daemon.delivery.staging import Part
from tests.delivery.test_origins import Names
from tests.support.outputs import Handler, OutputServer, cut_after, goog_hash, output_server, sha256, slow, status

DATA = bytes(range(251)) * 20_000  # 5 MB
TOKEN = "r8_secret"


@pytest.fixture
async def fetcher(server: OutputServer) -> AsyncIterator[Fetcher]:
    """The server is the API's own origin; every other name resolves to a private address."""
    names = Names(replicate_delivery=["169.254.169.254"], pbxt_replicate_delivery=["::ffff:10.0.0.1"])
    async with fetcher_for(Origins(server.url, ()), names) as made:
        yield made


class fetcher_for:  # noqa: N801 - a context manager, used like a function
    def __init__(self, origins: Origins, names: Names | None = None, *, trust_env: bool = False, **more: Any) -> None:
        self.make = partial(Fetcher, origins, token=self.token, resolver=names, **more)
        self.trust_env = trust_env

    @staticmethod
    async def token() -> str:
        return TOKEN

    async def __aenter__(self) -> Fetcher:
        self.pool = ThreadPoolExecutor(2)
        self.session = aiohttp.ClientSession(trust_env=self.trust_env)
        self.fetcher = self.make(session=self.session, pool=self.pool)
        return await self.fetcher.__aenter__()

    async def __aexit__(self, *_error: object) -> None:
        await self.fetcher.__aexit__(None, None, None)
        await self.session.close()
        self.pool.shutdown()


async def attempt(fetcher: Fetcher, url: str, path: Path) -> staging.Fetched:
    part = await asyncio.to_thread(Part, path, url)
    try:
        return await fetcher.attempt(url, part, lambda _done, _total: None)
    finally:
        await asyncio.to_thread(part.close)


async def until_done(fetcher: Fetcher, url: str, path: Path) -> list[str]:
    """Attempt until it works, with one part as the daemon does; the reasons of the retries."""
    part = await asyncio.to_thread(Part, path, url)
    reasons = []
    try:
        while True:
            try:
                await fetcher.attempt(url, part, lambda _done, _total: None)
            except Retry as reason:
                reasons.append(str(reason))
                assert not await asyncio.to_thread(path.exists)
            else:
                return reasons
    finally:
        await asyncio.to_thread(part.close)


def answer(body: bytes, code: int = 200, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=code, body=body, headers={key.replace("_", "-"): text for key, text in headers.items()}
        )

    return handler


def redirect(location: str, code: int = 302) -> Handler:
    return status(code, Location=location)


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
    monkeypatch.setattr(fetch, "MAX_BYTES", 2_000_000)

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
    monkeypatch.setattr(fetch, "free_bytes", lambda _folder: staging.RESERVE + 100)
    with pytest.raises(Retry, match="not enough disk space"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    monkeypatch.undo()
    await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_and_only_the_api_gets_the_token(
    server: OutputServer, tmp_path: Path, code: int
) -> None:
    async with output_server() as storage, fetcher_for(Origins(server.url, (storage.url,))) as fetcher:
        server.script["/v1/files/a/download"] = [redirect("/here", code)]
        server.script["/here"] = [redirect(f"{storage.url}/there?sig=%2F", code)]
        storage.files["/there"] = DATA
        fetched = await attempt(fetcher, f"{server.url}/v1/files/a/download", tmp_path / "x")
        assert fetched.sha256 == sha256(DATA)
        assert [headers.get("Authorization") for _path, headers in server.requests] == [f"Bearer {TOKEN}"] * 2
        assert [headers.get("Authorization") for _path, headers in storage.requests] == [None]


async def test_too_many_redirects_and_one_to_nowhere(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    server.script["/x"] = [redirect("/x")] * 3
    server.files["/x"] = b"found"
    await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    server.script["/x"] = [redirect("/x")] * 4
    with pytest.raises(Permanent, match="more than 3 redirects"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    server.script["/x"] = [status(302)]
    with pytest.raises(Permanent, match="without saying where"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/x",
        "http://localhost/x",
        "//evil.example/x",
        "https://evil.example/x",
        "http://169.254.169.254/latest/meta-data/iam",
        "http://[::1]/x",
        "http://[::ffff:169.254.169.254]/x",
        "http://0/x",
        "http://user@replicate.delivery/x",
        "https://replicate.delivery/x",  # here it resolves to the metadata address
        "https://pbxt.replicate.delivery/x",  # ... and this to a private one inside an IPv6
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "data:text/plain,x",
        "http://127.0.0.1\\@replicate.delivery/x",
    ],
)
async def test_a_redirect_that_leaves_is_refused(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, location: str
) -> None:
    server.script["/x"] = [redirect(location)]
    with pytest.raises(Permanent, match="refused"):
        await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    assert not (tmp_path / "x").exists() and len(server.requests) == 1


@pytest.mark.parametrize("host", ["replicate.delivery", "pbxt.replicate.delivery"])
async def test_a_name_that_resolves_to_a_private_address(fetcher: Fetcher, tmp_path: Path, host: str) -> None:
    with pytest.raises(Permanent, match=f"{host} resolves to .* not a public address"):
        await attempt(fetcher, f"https://{host}/x", tmp_path / "x")


async def test_the_address_that_was_checked_is_the_one_connected_to(tmp_path: Path) -> None:
    """An explicit origin by name: what our resolver said is used; the system's own is never asked."""
    async with output_server() as server:
        server.files["/x"] = b"pinned"
        port = server.url.rpartition(":")[2]
        origins = Origins("https://api.replicate.com", (f"http://no-such-host.invalid:{port}",))
        async with fetcher_for(origins, Names(**{"no-such-host_invalid": ["127.0.0.1"]})) as fetcher:
            assert (await attempt(fetcher, f"http://no-such-host.invalid:{port}/x", tmp_path / "x")).bytes == 6


async def test_through_a_proxy_only_the_name_is_checked(
    server: OutputServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy resolves. (The test server answers absolute-form requests as if it were one.)"""
    server.files["/x"] = b"by proxy"
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    origins = Origins("https://api.replicate.com", ("http://files.example.com",))
    async with fetcher_for(origins, Names(), trust_env=True) as fetcher:
        assert (await attempt(fetcher, "http://files.example.com/x", tmp_path / "x")).bytes == 8
        with pytest.raises(Permanent, match="refused"):
            await attempt(fetcher, "http://other.example.com/x", tmp_path / "y")
    assert len(server.requests) == 1


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
    monkeypatch.setattr(fetch, "MAX_DATA_BYTES", 30)
    with pytest.raises(Permanent, match="too large"):
        decode_data("data:," + "x" * 100)


def test_data_uris_are_shown_short() -> None:
    assert shortened("data:image/png;base64," + "A" * 1000) == "data:image/png;base64,… (1000 characters)"
    assert shortened("https://replicate.delivery/x?y") == "https://replicate.delivery/x?y"


async def test_the_loop_is_not_held_up(fetcher: Fetcher, server: OutputServer, tmp_path: Path) -> None:
    """Hashing, writing and syncing happen elsewhere: a heartbeat goes on through a 60 MB download."""
    server.files["/x"] = DATA * 12
    worst = 0.0

    async def heartbeat() -> None:
        nonlocal worst
        while True:
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(0.001)
            worst = max(worst, asyncio.get_running_loop().time() - began)

    task = asyncio.create_task(heartbeat())
    await attempt(fetcher, f"{server.url}/x", tmp_path / "x")
    task.cancel()
    assert worst < 0.5  # generous: the server shares this loop, and the machine is shared too
