"""``tunerd tunnel`` with stand-ins that print and serve what ngrok and cloudflared do.

Their host names lead to the daemon through a proxy that knows them and TLS with an authority of the tests' own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.cli.tunnel_programs import PROGRAMS, Tunnel
from tests.cli.conftest import Program, Started
from tests.support.daemon import Daemon, running_daemon
from tests.support.proxy import running_proxy
from tests.support.signed import PATH, SECRET, prediction, signed
from tests.support.tls import Authority, tls_front

NAMES = ("one-quick-fox.trycloudflare.com", "two-lazy-dogs.trycloudflare.com")
ROOT = Path(__file__).parents[2]


@dataclass
class World:
    """The daemon, the folder that steers the stand-ins, and the environment in which they are found."""

    daemon: Daemon
    standin: Path
    variables: dict[str, str]

    def pid(self) -> int:
        return int((self.standin / "pid").read_text())

    async def webhook_url(self) -> str | None:
        found: str | None = (await self.daemon.get("/api/cloud/providers/replicate"))["webhook_url"]
        return found


def programs(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        text = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.support.tunnel_program import main\n"
        (folder / name).write_text(f"#!{sys.executable}\n{text}main({name!r})\n")
        (folder / name).chmod(0o755)
    return folder


@contextlib.asynccontextmanager
async def world(tmp_path: Path, *names: str, **variables: str) -> AsyncIterator[World]:
    standin = programs(tmp_path / "standin")
    (standin / "names").write_text("\n".join(names))
    binaries = programs(tmp_path / "bin", "ngrok", "cloudflared")
    authority = Authority(standin)
    async with running_daemon(tmp_path, TUNERD_WEBHOOK_SECRET=SECRET, **variables) as daemon:
        host, port = daemon.url.removeprefix("http://").split(":")
        async with (
            tls_front(authority.context(*names), (host, int(port))) as front,
            running_proxy({f"{name}:443": front for name in names}) as proxy,
        ):
            variables = {
                "TUNERD_URL": daemon.url,
                "PATH": f"{binaries}:{os.environ['PATH']}",
                "HTTPS_PROXY": proxy.url,
                "SSL_CERT_FILE": str(authority.file),
                "STANDIN": str(standin),
            }
            yield World(daemon, standin, variables)


async def ended(started: Started, number: int = signal.SIGINT) -> str:
    """What it says on standard error from the signal on."""
    started.process.send_signal(number)
    result = await started.result()
    assert result.code == 0, result.err
    return result.err


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_cloudflared_from_start_to_end(start: Program, tmp_path: Path) -> None:
    async with world(tmp_path, *NAMES) as here:
        before = {"webhook_url": "https://before.example"}
        async with here.daemon.session.put(here.daemon.url + "/api/cloud/providers/replicate", json=before) as put:
            assert put.status == 200
        body = prediction("p1")  # a job that runs
        async with here.daemon.session.post(here.daemon.url + PATH, data=body, headers=signed(body)) as sent:
            assert sent.status == 200
        started = await start("tunnel", "cloudflared", **here.variables)
        assert await started.line() == f"https://{NAMES[0]} leads to {here.daemon.url}; it is the webhook URL now."
        assert await started.line() == f"Webhooks reach the daemon at https://{NAMES[0]}{PATH}"
        assert "1 unfinished job keeps" in await started.remark()
        assert await here.webhook_url() == f"https://{NAMES[0]}"
        assert json.loads((here.standin / "arguments").read_text()) == [
            *("tunnel", "--no-autoupdate", "--url", here.daemon.url)
        ]
        # It dies, and comes back under another name.
        os.kill(here.pid(), signal.SIGKILL)
        assert "restarting in 1 s" in await started.remark()
        assert (await started.line()).startswith(f"https://{NAMES[1]} leads to")
        assert await started.line() == f"Webhooks reach the daemon at https://{NAMES[1]}{PATH}"
        assert await here.webhook_url() == f"https://{NAMES[1]}"
        said = await ended(started)
        assert f"was https://{NAMES[0]} until now" in said and "asks the API" in said
        assert "https://before.example again" in said
        assert await here.webhook_url() == "https://before.example"
        assert gone(here.pid())


def test_a_program_that_speaks_before_we_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ngrok").write_text("#!/bin/sh\necho one\necho two\n")
    (tmp_path / "ngrok").chmod(0o755)
    start = threading.Thread.start

    def start_first(thread: threading.Thread) -> None:
        start(thread)
        thread.join()

    monkeypatch.setattr(threading.Thread, "start", start_first)
    monkeypatch.setenv("PATH", str(tmp_path))
    tunnel = Tunnel(PROGRAMS["ngrok"], "http://127.0.0.1:1", os.environ)
    tunnel.stop()
    assert tunnel.last_words() == "one\ntwo"


async def test_ngrok_beside_another_session(start: Program, tmp_path: Path) -> None:
    async with world(tmp_path, "mine.ngrok-free.app") as here:
        started = await start("tunnel", "ngrok", **here.variables)
        assert (await started.line()).startswith("https://mine.ngrok-free.app leads to")
        assert (await started.line()).startswith("Webhooks reach the daemon at https://mine.ngrok-free.app/")
        os.kill(here.pid(), signal.SIGTERM)
        assert await started.line() == "https://mine.ngrok-free.app is back."  # a reserved name stays
        await started.line()
        assert "unset again" in await ended(started, signal.SIGTERM)
        assert await here.webhook_url() is None


async def test_without_its_box_the_metrics_server_knows(start: Program, tmp_path: Path) -> None:
    async with world(tmp_path, NAMES[0]) as here:
        (here.standin / "no-box").touch()
        started = await start("tunnel", "cloudflared", **here.variables)
        assert (await started.line()).startswith(f"https://{NAMES[0]} leads to")
        await ended(started)


async def test_a_url_that_leads_elsewhere_is_told(start: Program, tmp_path: Path, stand_in) -> None:
    async with world(tmp_path, NAMES[0]) as here:
        elsewhere = stand_in.url.removeprefix("http://").split(":")
        authority = Authority(programs(tmp_path / "other"))
        async with (
            tls_front(authority.context(NAMES[0]), (elsewhere[0], int(elsewhere[1]))) as front,
            running_proxy({f"{NAMES[0]}:443": front}) as proxy,
        ):
            more = {**here.variables, "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.file)}
            started = await start("tunnel", "cloudflared", **more)
            await started.line()
            await asyncio.sleep(2)
            os.kill(here.pid(), signal.SIGKILL)  # ends the attempts
            assert "HTTP 404 was answered, not by tunerd" in await started.remark()
            await ended(started)


async def test_the_url_changed_meanwhile(start: Program, tmp_path: Path) -> None:
    async with world(tmp_path, NAMES[0]) as here:
        started = await start("tunnel", "cloudflared", **here.variables)
        await started.line()
        await started.line()
        other = {"webhook_url": "https://other.example"}
        async with here.daemon.session.put(here.daemon.url + "/api/cloud/providers/replicate", json=other) as put:
            assert put.status == 200
        assert "was changed meanwhile" in await ended(started)
        assert await here.webhook_url() == "https://other.example"


async def test_the_daemon_is_gone_at_the_end(start: Program, tmp_path: Path) -> None:
    async with world(tmp_path, NAMES[0]) as here:
        started = await start("tunnel", "cloudflared", **here.variables)
        await started.line()
        await started.line()
        await here.daemon.kill()
        assert "still points to it" in await ended(started)
        assert gone(here.pid())


@pytest.mark.parametrize("program", ["ngrok", "cloudflared"])
async def test_a_program_that_is_not_there(tunerd, tmp_path: Path, program: str) -> None:
    async with world(tmp_path, NAMES[0]) as here:
        result = await tunerd("tunnel", program, TUNERD_URL=here.daemon.url, PATH=str(here.standin))
    assert result.code == 1 and "not installed" in result.err and "https://" in result.err


async def test_a_program_that_fails_at_once(tunerd, tmp_path: Path) -> None:
    words = "ERROR:  authentication failed: Usage of ngrok requires a verified account and authtoken.\nERR_NGROK_4018"
    async with world(tmp_path, NAMES[0]) as here:
        (here.standin / "words").write_text(words)
        result = await tunerd("tunnel", "ngrok", **here.variables)
        assert result.code == 1 and "ended before" in result.err and "ERR_NGROK_4018" in result.err
        (here.standin / "words").write_text(
            '2026-11-05T10:00:00Z ERR Error requesting quick tunnel error="Post \\"https://api.trycloudflare.com/tunnel\\""'
        )
        result = await tunerd("tunnel", "cloudflared", **here.variables)
        assert result.code == 1 and "requesting quick tunnel" in result.err
        assert await here.webhook_url() is None


async def test_a_pinned_url(tunerd, tmp_path: Path) -> None:
    async with world(tmp_path, NAMES[0], TUNERD_WEBHOOK_URL="https://pinned.example") as here:
        result = await tunerd("tunnel", "cloudflared", **here.variables)
    assert result.code == 1 and "409" in result.err and "environment" in result.err


async def test_no_daemon(tunerd) -> None:
    assert (await tunerd("tunnel", "ngrok", TUNERD_URL="http://127.0.0.1:9")).code == 3
    assert (await tunerd("tunnel", "ngrok", TUNERD_URL="unix:/nowhere")).code in {2, 3}
    assert (await tunerd("tunnel", "smoke")).code == 2
