"""Calls that do not go to Replicate take the same way out: a real proxy, an own authority, names that exist nowhere.

Storage (S3), the Hugging Face Hub, the list of address ranges, a notification's receiver, and our own webhook URL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daemon.sandbox.server import Sandbox
from tests.conftest import skip_or_fail
from tests.support.daemon import Daemon, running_daemon
from tests.support.hub import TOKEN, Hub, running_hub
from tests.support.moto import running_moto
from tests.support.proxy import Proxy, running_proxy
from tests.support.receiver import Receiver, running_receiver
from tests.support.tinyproxy import TinyproxyMissing, running_tinyproxy
from tests.support.tls import Authority, tls_front

API, BUCKETS, HUB = "api.replicate.test", "s3.storage.test", "hub.models.test"
RANGES, RECEIVER, HOOKS = "ranges.cloud.test", "chat.example.test", "hooks.example.test"
NAMES = (API, BUCKETS, HUB, RANGES, RECEIVER, HOOKS)
KEYS = {"access_key_id": "any", "secret_access_key": "thing"}
Hosts = dict[str, tuple[str, int]]


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


@pytest.fixture
async def ranges() -> AsyncIterator[str]:
    async def answer(_request: web.Request) -> web.Response:
        prefix = {"ipv4Prefix": "34.82.0.0/15", "service": "Google Cloud", "scope": "us-west1"}
        return web.json_response({"prefixes": [prefix]})

    app = web.Application()
    app.router.add_get("/cloud.json", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/cloud.json"))


@contextlib.asynccontextmanager
async def tinyproxy(folder: Path, hosts: Hosts) -> AsyncIterator[tuple[str, Proxy]]:
    """The URL of Debian's proxy, and ours behind it, which knows where the names lead."""
    async with running_proxy(hosts) as proxy:
        try:
            async with running_tinyproxy(folder, proxy.url) as url:
                yield url, proxy
        except TinyproxyMissing as missing:
            skip_or_fail(str(missing))


@contextlib.asynccontextmanager
async def running_hooks(daemon: Daemon, authority: Authority, hosts: Hosts) -> AsyncIterator[None]:
    """The daemon's own public URL."""
    async with tls_front(authority.context(HOOKS), address(daemon.url)) as front:
        hosts[f"{HOOKS}:443"] = front
        await put(daemon, "/api/cloud/providers/replicate", {"webhook_url": f"https://{HOOKS}"})
        yield


async def put(daemon: Daemon, path: str, body: Any) -> Any:
    async with daemon.session.put(daemon.url + path, json=body) as answer:
        content = await answer.json(content_type=None)
        assert answer.status == 200, content
        return content


async def test_storage_hub_ranges_receivers_and_our_own_url(tmp_path: Path, ranges: str) -> None:
    authority, hosts = Authority(tmp_path), Hosts()
    async with contextlib.AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(port=0, seed=3, speed=20))
        hub: Hub = await stack.enter_async_context(running_hub())
        receiver: Receiver = await stack.enter_async_context(running_receiver("/in"))
        moto = await asyncio.to_thread(stack.enter_context, running_moto())
        there = {API: sandbox.url, BUCKETS: moto, HUB: hub.url, RANGES: ranges, RECEIVER: receiver.url}
        for name, url in there.items():
            hosts[f"{name}:443"] = await stack.enter_async_context(tls_front(authority.context(name), address(url)))
        hub.url = f"https://{HUB}"  # the links in its answers
        bucket = boto3.client(
            "s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="thing"
        )
        await asyncio.to_thread(bucket.create_bucket, Bucket="models")
        way_out, proxy = await stack.enter_async_context(tinyproxy(tmp_path, hosts))
        daemon = await stack.enter_async_context(
            running_daemon(
                tmp_path,
                REPLICATE_BASE_URL=f"https://{API}",
                REPLICATE_API_TOKEN=sandbox.api_token,
                TUNERD_IP_RANGES_URL=f"https://{RANGES}/cloud.json",
                TUNERD_OUTPUT_ORIGINS=sandbox.url,
                SSL_CERT_FILE=str(authority.file),
                HTTPS_PROXY=way_out,
            )
        )
        await stack.enter_async_context(running_hooks(daemon, authority, hosts))

        found = await put(daemon, "/api/cloud/publishing", {"destinations": destinations()})
        assert [one["name"] for one in found["destinations"]] == ["bucket", "hub"]
        endpoint = {"name": "chat", "url": f"https://{RECEIVER}/in", "events": ["delivery.delivered"]}
        await put(daemon, "/api/cloud/notifications", {"endpoints": [endpoint]})
        await put(daemon, "/api/cloud/providers/replicate", {"webhook_ip_mode": "log-only"})
        listed = await daemon.post("/api/cloud/allowlist/refresh", {}, status=200)
        order = {"model": "acme/shapes", "input": {"output": "file:a.bin:1000"}}
        job_id = (await daemon.post("/api/cloud/jobs/submit", order, status=201))["job_id"]
        job = await daemon.finished(job_id)
        assert {item["destination"]: item["status"] for item in job["deliveries"]} == {
            "bucket": "delivered",
            "hub": "delivered",
        }, [item["error"] for item in job["deliveries"]]
        [told, *_] = await receiver.wait_for(1, timeout=60)
        health = {check["id"]: check for check in (await daemon.get("/api/cloud/health?fresh=true"))["checks"]}

    assert listed["feed"]["ranges"] == ["34.82.0.0/15"], listed
    assert told.json()["data"]["job_id"] == job_id
    for check in ("webhook_reached", "webhook_tls", "webhook_body", "destinations"):
        assert health[check]["status"] == "ok", health[check]
    assert {f"CONNECT {name}:443" for name in NAMES} <= set(proxy.seen)
    assert {line.split()[0] for line in proxy.seen} == {"CONNECT"}  # nothing that a proxy could read


def destinations() -> list[dict[str, Any]]:
    s3 = {"bucket": "models", "endpoint_url": f"https://{BUCKETS}", **KEYS}
    hub = {"repo_id": "me/{job_id}", "token": TOKEN, "endpoint": f"https://{HUB}", "xet": False}
    return [
        {"name": "bucket", "type": "s3", "options": s3},
        {"name": "hub", "type": "huggingface", "options": hub},
    ]
