"""Where a request may lead: redirects, names that resolve elsewhere, proxies, and who gets the token."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.delivery.errors import Permanent
from daemon.delivery.fetch import Fetcher
from daemon.delivery.origins import Origins
from tests.delivery.test_origins import Names
from tests.support.fetching import TOKEN, attempt, fetcher_for, redirect
from tests.support.outputs import OutputServer, output_server, sha256, status

DATA = bytes(range(251)) * 20_000  # 5 MB


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


async def test_a_handshake_that_never_ends_can_be_given_up(tmp_path: Path) -> None:
    """It connects and says nothing: whoever cancels does not have to wait for the time limit."""
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, fetcher_for(Origins(url, ())) as fetcher:
        task = asyncio.create_task(attempt(fetcher, f"{url}/x", tmp_path / "x"))
        async with asyncio.timeout(20):
            await connected.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
