"""PROXY protocol as nginx (version 1) and HAProxy (both versions) really send it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon import running_daemon
from tests.support.fronts import haproxy, nginx_stream
from tests.support.ports import free_ports
from tests.support.signed import PATH, SECRET, prediction, signed


@pytest.mark.parametrize("sender", ["nginx", "send-proxy", "send-proxy-v2"])
async def test_the_client_is_known_behind_it(tmp_path: Path, sender: str) -> None:
    proxied, port = free_ports(2)
    given = {
        "TUNERD_LISTEN": f"127.0.0.1:0,proxy://127.0.0.1:{proxied}",
        "TUNERD_WEBHOOK_SECRET": SECRET,
        "TUNERD_WEBHOOK_ALLOWED_IPS": "127.0.9.0/24",
    }
    upstream = f"127.0.0.1:{proxied}"
    front = (
        nginx_stream(tmp_path / "front", port, upstream)
        if sender == "nginx"
        else haproxy(tmp_path / "front", port, upstream, sender)
    )
    async with running_daemon(tmp_path, **given) as daemon, front:
        import aiohttp

        for address, status in (("127.0.9.7", 200), ("127.0.8.7", 403)):
            connector = aiohttp.TCPConnector(local_addr=(address, 0))
            body = prediction("p1")
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.post(f"http://127.0.0.1:{port}{PATH}", data=body, headers=signed(body)) as answer,
            ):
                assert answer.status == status, await answer.text()
                if status == 200:
                    async with session.get(f"http://127.0.0.1:{port}/api/cloud/jobs") as jobs:
                        assert jobs.status == 401  # from loopback, and yet through a proxy
        assert [event["source_ip"] for event in (await daemon.get("/api/cloud/events"))["events"]] == ["127.0.9.7"]
