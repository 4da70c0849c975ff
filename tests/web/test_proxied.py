"""A listener that asks for the PROXY protocol, beside one that does not, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.web.runner import ProxiedSite
from tests.support.signed import PATH, SECRET, Raw, prediction, request_bytes, signed
from tests.support.webapp import Served, running_app

V1 = b"PROXY TCP4 %s 127.0.0.1 5000 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
CLIENT = b"203.0.113.9"


def v2(client: str) -> bytes:
    payload = socket.inet_aton(client) + bytes(4) + struct.pack("!HH", 5000, 443)
    return SIGNATURE + struct.pack("!BBH", 0x21, 0x11, len(payload)) + payload


def webhook(number: int, **headers: str) -> bytes:
    body = prediction("p1", number=number)
    fields = {name.replace("-", "_"): value for name, value in signed(body, f"msg_{number}").items()}
    return request_bytes(body, **fields, **headers)


@contextlib.asynccontextmanager
async def proxied(tmp_path: Path, **environ: str) -> AsyncIterator[tuple[Served, str]]:
    """The application, and the address of a second listener that expects the header."""
    given = {"TUNERD_WEBHOOK_SECRET": SECRET, **environ}
    async with running_app(tmp_path, environ=given, runner={"headers_seconds": 0.6}) as served:
        listener = socket.create_server(("127.0.0.1", 0))
        assert served.server.runner is not None
        await ProxiedSite(served.server.runner, listener).start()
        yield served, f"http://127.0.0.1:{listener.getsockname()[1]}"


async def source_ip(served: Served) -> str | None:
    events = (await served.get("/api/cloud/events?limit=100"))["events"]
    return events[-1]["source_ip"]


@pytest.mark.parametrize("header", [V1 % CLIENT, v2("203.0.113.9")], ids=["v1", "v2"])
async def test_the_client_is_whom_the_header_names(tmp_path: Path, header: bytes) -> None:
    async with proxied(tmp_path) as (served, url):
        raw = await Raw.open(url)
        await raw.send(header + webhook(1, X_Forwarded_For="198.51.100.1"))
        assert (await raw.answer())[0] == 200
        assert await source_ip(served) == "203.0.113.9"  # its own forwarding header is an untrusted client's
        await raw.send(webhook(2))
        assert (await raw.answer())[0] == 200
        assert await source_ip(served) == "203.0.113.9"
        await raw.close()


async def test_a_header_that_comes_in_pieces(tmp_path: Path) -> None:
    async with proxied(tmp_path) as (served, url):
        raw = await Raw.open(url)
        for byte in V1 % CLIENT:
            await raw.send(bytes([byte]))
            await asyncio.sleep(0)
        await raw.send(webhook(1))
        assert (await raw.answer())[0] == 200 and await source_ip(served) == "203.0.113.9"
        await raw.close()


async def test_the_ip_rule_counts_for_whom_the_header_names(tmp_path: Path) -> None:
    async with proxied(tmp_path, TUNERD_WEBHOOK_ALLOWED_IPS="203.0.113.0/24") as (_, url):
        for client, status in ((CLIENT, 200), (b"198.51.100.1", 403)):
            raw = await Raw.open(url)
            await raw.send(V1 % client + webhook(1))
            assert (await raw.answer())[0] == status
            await raw.close()


@pytest.mark.parametrize(
    "header",
    [V1 % b"127.0.0.1", b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00", v2("127.0.0.1")],
)
async def test_nobody_is_the_admin_through_it_without_a_token(tmp_path: Path, header: bytes) -> None:
    async with proxied(tmp_path) as (_, url):
        raw = await Raw.open(url)
        await raw.send(header + request_bytes(method="GET", path="/api/cloud/jobs"))
        status, _, found = await raw.answer()
        assert (status, found["code"]) == (401, "unauthorized")
        await raw.close()


async def test_an_unknown_client_is_on_no_list_and_cannot_say_who_it_is(tmp_path: Path) -> None:
    async with proxied(tmp_path, TUNERD_WEBHOOK_ALLOWED_IPS="203.0.113.0/24") as (_, url):
        raw = await Raw.open(url)
        await raw.send(b"PROXY UNKNOWN\r\n" + webhook(1, X_Forwarded_For="203.0.113.9"))
        assert (await raw.answer())[0] == 403
        await raw.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 nonsense\r\n",
        V1 % b"1.2.3",
        SIGNATURE + b"\x31\x11\x00\x0c",
    ],
)
async def test_without_a_valid_header_the_connection_is_closed_unanswered(tmp_path: Path, data: bytes) -> None:
    async with proxied(tmp_path) as (served, url):
        raw = await Raw.open(url)
        await raw.send(data + webhook(1))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(raw.reader.read(), 30) == b""
        assert await served.store.journal.last_seq() == 0
        await raw.close()


async def test_a_header_that_does_not_end_meets_the_deadline(tmp_path: Path) -> None:
    async with proxied(tmp_path) as (_, url):
        raw = await Raw.open(url)
        await raw.send(b"PROXY TCP4 203.")
        await raw.closed_within(10)
        await raw.close()


async def test_only_a_trusted_proxy_may_connect(tmp_path: Path) -> None:
    async with proxied(tmp_path, TUNERD_TRUSTED_PROXIES="192.0.2.1") as (served, url):
        raw = await Raw.open(url)
        with contextlib.suppress(ConnectionError):
            await raw.send(V1 % CLIENT + webhook(1))
            assert await asyncio.wait_for(raw.reader.read(), 30) == b""
        assert await served.store.journal.last_seq() == 0
        await raw.close()


@pytest.mark.parametrize("header", [V1 % CLIENT, v2("203.0.113.9")], ids=["v1", "v2"])
async def test_elsewhere_a_header_is_refused(tmp_path: Path, header: bytes) -> None:
    async with proxied(tmp_path) as (served, _):
        raw = await Raw.open(served.url)
        await raw.send(header + webhook(1))
        status, _, found = await raw.answer()
        assert (status, found["code"]) == (400, "invalid_request")
        assert await served.store.journal.last_seq() == 0
        assert PATH not in found["detail"]
        await raw.close()
