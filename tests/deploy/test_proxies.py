"""The daemon behind real nginx and real Caddy, with the configuration that ``tunerd deploy`` renders.

Every address here is loopback, so the rendered ranges are parts of 127.0.0.0/8: a client binds to the address that it
plays. Only names, ports, ranges and the certificate differ from the files in deploy/.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.deploy import caddy as caddy_file
from daemon.deploy import nginx as nginx_file
from daemon.deploy.facts import Facts
from tests.conftest import system_program
from tests.support import fronts
from tests.support.daemon import Daemon, running_daemon
from tests.support.fronts import NAME, certificate
from tests.support.ports import free_port
from tests.support.signed import PATH, SECRET, prediction, signed

REPLICATE, INTERNAL, STRANGER = "127.0.1.5", "127.0.2.5", "127.0.3.5"
TOKEN = "admin-secret"
MIB = 1024 * 1024
SILENCE = 4  # seconds after which a proxy is taken to have said all
PROXIES = {"nginx": (nginx_file.render, fronts.nginx), "caddy": (caddy_file.render, fronts.caddy)}
SPOOFED = {
    "X-Forwarded-For": REPLICATE,
    "Forwarded": f"for={REPLICATE}",
    "X-Real-IP": REPLICATE,
    "CF-Connecting-IP": REPLICATE,
    "True-Client-IP": REPLICATE,
}


@dataclass
class Front:
    """A proxy with the daemon behind it."""

    daemon: Daemon
    port: int
    chain: Path
    folder: Path

    async def curl(self, path: str, *options: str, source: str = STRANGER) -> tuple[int, str]:
        """Status and body; ``source``: the address to come from."""
        process = await asyncio.create_subprocess_exec(
            *(system_program("curl"), "-sS", "--max-time", "90", "--cacert", str(self.chain), "--noproxy", "*"),
            *(
                "--interface",
                source,
                "--resolve",
                f"{NAME}:{self.port}:127.0.0.1",
                "-w",
                "\n%{http_code} %{http_version}",
            ),
            *(*options, f"https://{NAME}:{self.port}{path}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        body, _, last = out.decode().rpartition("\n")
        status, self.version = last.split()
        return int(status), body

    async def webhook(
        self, number: int, *options: str, size: int = 0, source: str = STRANGER, **headers: str
    ) -> tuple[int, Any]:
        body = prediction("p1", number=number, logs="x" * size)
        file = self.folder / f"body{number}"
        file.write_bytes(body)
        sent = {**signed(body, f"msg_{number}"), **headers}
        lines = [part for name, value in sent.items() for part in ("-H", f"{name}: {value}")]
        status, text = await self.curl(PATH, "--data-binary", f"@{file}", *lines, *options, source=source)
        return status, json.loads(text) if text.startswith("{") else text

    async def admin(self, path: str, *options: str, source: str = INTERNAL) -> tuple[int, str]:
        return await self.curl(path, "-H", f"Authorization: Bearer {TOKEN}", *options, source=source)

    async def events(self) -> list[Any]:
        """The journal, asked for past the proxy."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.daemon.session.get(self.daemon.url + "/api/cloud/events?limit=500", headers=headers) as answer:
            return list((await answer.json())["events"])

    async def raw(self, data: bytes, source: str = STRANGER) -> bytes:
        """Bytes past every client library, over TLS; all that comes back until the proxy closes or falls silent."""
        context = ssl.create_default_context(cafile=str(self.chain))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=NAME, local_addr=(source, 0)
        )
        writer.write(data)
        await writer.drain()
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
            while chunk := await asyncio.wait_for(reader.read(65536), SILENCE):
                answer += chunk
        writer.transport.abort()
        return answer


@contextlib.asynccontextmanager
async def front(tmp_path: Path, kind: str, *, ranges: tuple[str, ...] = (), unix: bool = False) -> AsyncIterator[Front]:
    chain, key = certificate(tmp_path)
    given = {
        "TUNERD_WEBHOOK_SECRET": SECRET,
        "TUNERD_ADMIN_TOKEN": TOKEN,
        "TUNERD_WEBHOOK_ALLOWED_IPS": ",".join(ranges),
    }
    socket_path = tmp_path / "tunerd.sock"
    if unix:
        given["TUNERD_LISTEN"] = f"127.0.0.1:0,unix:{socket_path}"
    render, run = PROXIES[kind]
    async with running_daemon(tmp_path, **given) as daemon:
        port = free_port()
        facts = Facts(
            server_name=NAME,
            upstream=f"unix:{socket_path}" if unix else daemon.url.removeprefix("http://"),
            ranges=ranges,
            internal=("127.0.2.0/24",),
            certificate=chain,
            key=key,
            https_port=port,
        )
        async with run(tmp_path / kind, render(facts), port):
            yield Front(daemon, port, chain, tmp_path)


@pytest.fixture(params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def test_who_may_call_what(tmp_path: Path, kind: str) -> None:
    async with front(tmp_path, kind, ranges=("127.0.1.0/24",)) as proxy:
        # The webhook path: the ranges, whoever else claims to be in them.
        status, found = await proxy.webhook(1, source=REPLICATE)
        assert (status, found["status"]) == (200, "accepted")
        for number, source in ((2, STRANGER), (3, INTERNAL)):
            for spoofed in ({}, SPOOFED):
                assert (await proxy.webhook(number, source=source, **spoofed))[0] == 403
        assert (await proxy.curl("/api/webhooks/other", source=REPLICATE))[0] == 404
        # Everything else: internal addresses, who are not the admin by that alone.
        assert (await proxy.curl("/api/cloud/jobs", source=INTERNAL))[0] == 401
        assert (await proxy.admin("/api/cloud/jobs"))[0] == 200
        assert (await proxy.curl("/healthz", source=INTERNAL))[0] == 200
        for source in (STRANGER, REPLICATE):
            for path in ("/", "/healthz", "/api/cloud/jobs", "/metrics", "/api/cloud/jobs?x=/api/webhooks/"):
                assert (await proxy.admin(path, source=source))[0] == 403
            spoof = [part for name, value in SPOOFED.items() for part in ("-H", f"{name}: {INTERNAL}" if value else "")]
            assert (await proxy.admin("/api/cloud/jobs", *spoof, source=source))[0] == 403
        for trick in ("/api/webhooks/../cloud/jobs", "/api/webhooks/%2e%2e/cloud/jobs", "//api/cloud/jobs"):
            status, text = await proxy.admin(trick, "--path-as-is", source=REPLICATE)
            assert status in {400, 403, 404} and "jobs" not in text.partition('"detail"')[0], (trick, status, text)
        assert [event["source_ip"] for event in await proxy.events()] == [REPLICATE]


async def test_without_ranges_anybody_may_send_and_is_seen_as_who_he_is(tmp_path: Path, kind: str) -> None:
    async with front(tmp_path, kind) as proxy:
        assert (await proxy.webhook(1, source=STRANGER, **SPOOFED))[0] == 200
        assert (await proxy.webhook(2, "--http2", source=REPLICATE))[0] == 200
        assert proxy.version == "2"
        assert (await proxy.webhook(3, "--http1.1", source=INTERNAL))[0] == 200
        assert [event["source_ip"] for event in await proxy.events()] == [STRANGER, REPLICATE, INTERNAL]
        status, text = await proxy.curl(PATH, "-d", "{}")
        assert (status, json.loads(text)["code"]) == (401, "signature_missing")
        # A loopback Host header does not make a stranger the admin.
        _, text = await proxy.curl("/api/cloud/jobs", "-H", "Host: localhost", source=INTERNAL)
        assert '"jobs"' not in text  # Caddy says 200 and nothing where no site has that name


async def test_large_events(tmp_path: Path, kind: str) -> None:
    async with front(tmp_path, kind) as proxy:
        assert (await proxy.webhook(1, size=5 * MIB))[0] == 200
        assert (await proxy.webhook(2, "-H", "Transfer-Encoding: chunked", "--http1.1", size=5 * MIB))[0] == 200
        status, found = await proxy.webhook(3, size=32 * MIB)
        assert (status, found["code"]) == (413, "body_too_large")  # in tunerd's own words
        assert (await proxy.webhook(4, size=40 * MIB))[0] in {413, 502}
        assert [event["body_bytes"] > 5 * MIB for event in await proxy.events()] == [True, True]


async def test_over_a_unix_socket(tmp_path: Path, kind: str) -> None:
    async with front(tmp_path, kind, ranges=("127.0.1.0/24",), unix=True) as proxy:
        assert (await proxy.webhook(1, source=REPLICATE))[0] == 200
        assert (await proxy.webhook(2, source=STRANGER, **SPOOFED))[0] == 403
        assert (await proxy.curl("/api/cloud/jobs", source=INTERNAL))[0] == 401
        assert [event["source_ip"] for event in await proxy.events()] == [REPLICATE]


async def test_event_streams_arrive_line_by_line(tmp_path: Path, kind: str) -> None:
    async with front(tmp_path, kind) as proxy:
        for option in ("--http1.1", "--http2"):
            process = await asyncio.create_subprocess_exec(
                *(system_program("curl"), "-sSN", option, "--cacert", str(proxy.chain), "--noproxy", "*"),
                *("--interface", INTERNAL, "--resolve", f"{NAME}:{proxy.port}:127.0.0.1", "-H", "Last-Event-ID: 0"),
                *("-H", f"Authorization: Bearer {TOKEN}", f"https://{NAME}:{proxy.port}/api/cloud/events/stream"),
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            try:
                first = len(await proxy.events())
                for number in range(first, first + 3):  # each is read before the next is sent: nothing waits for more
                    assert (await proxy.webhook(number))[0] == 200
                    async with asyncio.timeout(30):
                        await streamed(process.stdout, f"msg_{number}")
            finally:
                process.kill()
                await process.wait()


async def streamed(stream: asyncio.StreamReader, webhook_id: str) -> None:
    """Read until that event."""
    while line := await stream.readline():
        if line.startswith(b"data: ") and json.loads(line[6:])["webhook_id"] == webhook_id:
            return
    raise AssertionError("the stream ended")


HEAD = f"POST {PATH} HTTP/1.1\r\nHost: {NAME}\r\n"
SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {NAME}\r\nX-Smuggled: yes\r\n\r\n"
VARIANTS = {
    "CL.TE": f"{HEAD}Content-Length: {len(SMUGGLED) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "TE.CL": f"{HEAD}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
    f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
    "two lengths": f"{HEAD}Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a list of lengths": f"{HEAD}Content-Length: 0, {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a signed length": f"{HEAD}Content-Length: +{len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a folded header": f"{HEAD}Transfer-Encoding:\r\n chunked\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "an obscured encoding": f"{HEAD}Transfer-Encoding: xchunked\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a blank before the colon": f"{HEAD}Transfer-Encoding : chunked\r\n"
    f"Content-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "two encodings": f"{HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"
    f"Content-Length: {len(SMUGGLED)}\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "bare line feeds": f"{HEAD}X: y\nContent-Length: {len(SMUGGLED)}\n\n{SMUGGLED}",
    "a bare return": f"{HEAD}X: y\rTransfer-Encoding: chunked\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a chunk of a wrong size": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0;\n{SMUGGLED}\r\n0\r\n\r\n",
    "a NUL": f"{HEAD}X: \x00\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "a GET with a body": f"GET {PATH} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "HTTP/1.0 chunked": f"POST {PATH} HTTP/1.0\r\nHost: {NAME}\r\n"
    f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
}


async def test_a_smuggled_request_never_reaches_the_daemon_as_one(tmp_path: Path, kind: str) -> None:
    """A stranger may only send webhooks. Whatever of it the proxy takes for a second request it must judge itself."""
    async with front(tmp_path, kind) as proxy:
        answers = await asyncio.gather(*(proxy.raw(data.encode("latin-1")) for data in VARIANTS.values()))
        for name, answer in zip(VARIANTS, answers, strict=True):
            # /smuggled is not public: had it come to the daemon as a request, the answer would be its 401.
            assert b'"unauthorized"' not in answer, (name, answer)
        assert "/smuggled" not in proxy.daemon.log.read_text()  # refused requests are in its log with their path
        assert (await proxy.webhook(1))[0] == 200  # on whatever connection to the daemon is reused


async def test_slow_clients_hold_nothing_up(tmp_path: Path, kind: str) -> None:
    async with front(tmp_path, kind) as proxy:
        context = ssl.create_default_context(cafile=str(proxy.chain))
        slow = [
            await asyncio.open_connection("127.0.0.1", proxy.port, ssl=context, server_hostname=NAME) for _ in range(40)
        ]
        for number, (_, writer) in enumerate(slow):
            writer.write(HEAD.encode() if number % 2 else HEAD.encode() + b"Content-Length: 1000\r\n\r\nabc")
            await writer.drain()
        for number in range(3):
            assert (await proxy.webhook(number))[0] == 200
        for _, writer in slow:
            writer.transport.abort()
        assert len(await proxy.events()) == 3
