"""Every outgoing call of the daemon goes the way that the environment names: proxy, own authority, IPv6.

The names are ones that exist nowhere: what reaches its server can only have come through the proxy.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daemon.sandbox.server import Sandbox
from tests.conftest import skip_or_fail
from tests.support.daemon import Daemon, running_daemon
from tests.support.proxy import Proxy, running_proxy
from tests.support.tinyproxy import TinyproxyMissing, running_tinyproxy
from tests.support.tls import Authority, tls_front

API, FILES, STATUS = "api.replicate.test", "pbxt.replicate.delivery", "status.replicate.test"
VALIDATE = "/api/cloud/providers/replicate/validate"


@dataclass
class Outside:
    """A Replicate behind TLS, and where its names lead."""

    sandbox: Sandbox
    authority: Authority
    front: tuple[str, int]
    page: tuple[str, int]

    @property
    def hosts(self) -> dict[str, tuple[str, int]]:
        return {f"{API}:443": self.front, f"{FILES}:443": self.front, f"{STATUS}:443": self.page}

    def variables(self, **more: str) -> dict[str, str]:
        return {
            "REPLICATE_BASE_URL": f"https://{API}",
            "REPLICATE_API_TOKEN": self.sandbox.api_token,
            "TUNERD_STATUS_URL": f"https://{STATUS}/summary",
            "SSL_CERT_FILE": str(self.authority.file),
            **more,
        }


async def summary(_: web.Request) -> web.Response:
    return web.json_response({"ongoing_incidents": [], "in_progress_maintenances": [], "scheduled_maintenances": []})


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Outside]:
    authority = Authority(tmp_path)
    context = authority.context(API, FILES, STATUS, "localhost")
    pages = web.Application()
    pages.router.add_get("/summary", summary)
    async with Sandbox(port=0, seed=3, speed=20) as sandbox, TestServer(pages) as page:
        address = urlsplit(sandbox.url)
        async with (
            tls_front(context, (address.hostname or "", address.port or 0)) as front,
            tls_front(context, ("127.0.0.1", page.port or 0)) as page_front,
        ):
            yield Outside(sandbox, authority, front, page_front)


@contextlib.asynccontextmanager
async def through(kind: str, folder: Path, proxy: Proxy) -> AsyncIterator[str]:
    """The URL to set: our own proxy, or Debian's in front of it."""
    if kind == "own":
        yield proxy.url
        return
    try:
        async with running_tinyproxy(folder, proxy.url) as url:
            yield url
    except TinyproxyMissing as missing:
        skip_or_fail(str(missing))


def a_dataset(folder: Path) -> str:
    folder.mkdir()
    (folder / "dog.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    (folder / "dog.txt").write_text("a dog")
    return str(folder)


@pytest.mark.parametrize("kind", ["own", "tinyproxy"])
async def test_a_whole_training_through_a_proxy(tmp_path: Path, outside: Outside, kind: str) -> None:
    outside.sandbox.faults.output_base_url = f"https://{FILES}"
    async with (
        running_proxy(outside.hosts) as proxy,
        through(kind, tmp_path, proxy) as url,
        running_daemon(tmp_path, **outside.variables(HTTPS_PROXY=url)) as daemon,
    ):
        await daemon.session.put(daemon.url + "/api/cloud/providers/replicate", json={"webhook_url": daemon.url})
        assert (await daemon.get(VALIDATE))["valid"] is True
        assert (await daemon.get("/api/cloud/replicate/status"))["operational"] is True
        order = {
            "config": {"--max_train_steps": 5},
            "dataloader_config": [{"id": "dogs", "type": "local", "instance_data_dir": a_dataset(tmp_path / "dogs")}],
        }
        job_id = (await daemon.post("/api/cloud/jobs/submit", order, status=201))["job_id"]
        job = await daemon.finished(job_id)
        assert [item["status"] for item in job["deliveries"]] == ["delivered"], job
        events = (await daemon.get(f"/api/cloud/jobs/{job_id}/events"))["events"]
        assert {event["source"] for event in events} >= {"webhook"}  # their secret was fetched the same way
        ways = {call.path.split("/")[2] for call in outside.sandbox.requests if call.path.startswith("/v1/")}
        assert ways >= {"account", "models", "files", "predictions", "webhooks"}
    assert {f"CONNECT {name}:443" for name in (API, FILES, STATUS)} <= set(proxy.seen)
    assert {line.split()[0] for line in proxy.seen} == {"CONNECT"}  # nothing that a proxy could read


async def test_no_proxy_is_honoured(tmp_path: Path, outside: Outside) -> None:
    async with running_proxy({}) as proxy:
        variables = outside.variables(
            HTTPS_PROXY=proxy.url,
            NO_PROXY="example.org, localhost",
            REPLICATE_BASE_URL=f"https://localhost:{outside.front[1]}",
        )
        async with running_daemon(tmp_path, **variables) as daemon:
            assert (await daemon.get(VALIDATE))["valid"] is True
            assert proxy.seen == []
            assert (await daemon.get("/api/cloud/replicate/status"))["operational"] is None
            assert set(proxy.seen) == {f"CONNECT {STATUS}:443"}


async def refused(daemon: Daemon) -> str:
    async with daemon.session.get(daemon.url + VALIDATE) as answer:
        body = await answer.json(content_type=None)
        assert answer.status == 502, body
        assert body["code"] == "provider_unavailable"
        return str(body["detail"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"HTTPS_PROXY": "http://127.0.0.1:9"}, "the proxy 127.0.0.1:9 does not answer. Correct HTTPS_PROXY"),
        ({"HTTPS_PROXY": "LOGIN"}, "USER:PASSWORD@HOST:PORT"),
        ({"HTTPS_PROXY": "REFUSE"}, "must let CONNECT"),
        ({"HTTPS_PROXY": "OWN", "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}, "SSL_CERT_FILE"),
        ({}, f"the name {API} cannot be resolved"),
    ],
)
async def test_what_is_in_the_way_is_told(
    tmp_path: Path, outside: Outside, changes: dict[str, str], words: str
) -> None:
    async with (
        running_proxy(outside.hosts) as own,
        running_proxy(outside.hosts, login="me:secret-pass") as login,
        running_proxy(outside.hosts, refuse=403) as refusing,
    ):
        urls = {"OWN": own.url, "LOGIN": login.url.replace("//", "//me:wrong-pass@"), "REFUSE": refusing.url}
        changes = {name: urls.get(value, value) for name, value in changes.items()}
        async with running_daemon(tmp_path, **outside.variables(**changes)) as daemon:
            told = await refused(daemon)
            assert words in told
            assert "wrong-pass" not in told
        assert "wrong-pass" not in daemon.log.read_text()


async def test_a_proxy_with_a_login(tmp_path: Path, outside: Outside) -> None:
    async with running_proxy(outside.hosts, login="me:secret-pass") as proxy:
        url = proxy.url.replace("//", "//me:secret-pass@")
        async with running_daemon(tmp_path, **outside.variables(HTTPS_PROXY=url)) as daemon:
            assert (await daemon.get(VALIDATE))["valid"] is True


async def test_netrc_does_not_replace_the_token(tmp_path: Path, outside: Outside) -> None:
    (tmp_path / ".netrc").write_text("default login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    async with (
        running_proxy(outside.hosts) as proxy,
        running_daemon(tmp_path, **outside.variables(HTTPS_PROXY=proxy.url)) as daemon,
    ):
        assert (await daemon.get(VALIDATE))["valid"] is True


async def test_ipv6(tmp_path: Path) -> None:
    async with Sandbox(host="::1", port=0, speed=20) as sandbox:
        variables = {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}
        async with running_daemon(tmp_path, TUNERD_LISTEN="[::1]:0", **variables) as daemon:
            order: dict[str, Any] = {"model": "acme/shapes", "input": {"output": "file:a.bin:1000"}}
            job_id = (await daemon.post("/api/cloud/jobs/submit", order, status=201))["job_id"]
            job = await daemon.finished(job_id)
            assert [item["status"] for item in job["deliveries"]] == ["delivered"], job
