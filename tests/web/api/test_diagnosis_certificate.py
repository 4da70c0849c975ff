"""The webhook URL's certificate, as the Health page judges it: real TLS, real chains, through a real proxy too."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import skip_or_fail
from tests.support.health import QUIET, checks
from tests.support.proxy import running_proxy
from tests.support.tinyproxy import TinyproxyMissing, running_tinyproxy
from tests.support.tls import Authority, tls_front
from tests.support.webapp import Served, running_app

OUTSIDE = "hooks.example.test"  # exists nowhere: only a proxy leads there


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this process trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path, environ=QUIET) as running:
        yield running


async def judged(served: Served, url: str) -> Any:
    await served.call("PUT", "/api/cloud/providers/replicate", json={"webhook_url": url})
    return (await checks(served))["webhook_tls"]


@contextlib.asynccontextmanager
async def fronted(served: Served, context: ssl.SSLContext) -> AsyncIterator[tuple[str, int]]:
    address = urlsplit(served.url)
    async with tls_front(context, (address.hostname or "", address.port or 0)) as front:
        yield front


@pytest.mark.parametrize(
    ("name", "days", "status", "says"),
    [
        ("localhost", 60, "ok", "The chain is trusted; the certificate ends on 20"),
        ("localhost", 5, "warn", "The certificate ends on 20"),
        ("localhost", -1, "fail", "certificate has expired"),
        ("other.example", 60, "fail", "Hostname mismatch"),
    ],
    ids=["good", "expiring", "expired", "another name"],
)
async def test_a_certificate(
    served: Served, authority: Authority, name: str, days: float, status: str, says: str
) -> None:
    async with fronted(served, authority.context(name, days=days)) as (_, port):
        found = await judged(served, f"https://localhost:{port}")
    assert (found["status"], says in found["detail"]) == (status, True), found


async def test_an_authority_that_nobody_knows(served: Served, tmp_path: Path) -> None:
    async with fronted(served, Authority(tmp_path).context("localhost")) as (_, port):
        found = await judged(served, f"https://localhost:{port}")
    assert found["status"] == "fail"
    assert "is not trusted: " in found["detail"]
    assert "full chain" in found["fix"]


async def test_what_is_no_tls_is_not_judged(served: Served) -> None:
    found = await judged(served, served.url.replace("http://", "https://"))
    assert (found["status"], "No TLS connection" in found["detail"]) == ("unknown", True)


@pytest.mark.parametrize("kind", ["own, with a login", "tinyproxy"])
async def test_through_the_proxy(
    served: Served, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    login = None if kind == "tinyproxy" else "me:secret-pass"
    async with contextlib.AsyncExitStack() as stack:
        front = await stack.enter_async_context(fronted(served, authority.context(OUTSIDE)))
        proxy = await stack.enter_async_context(running_proxy({f"{OUTSIDE}:443": front}, login=login))
        url = proxy.url
        if login is None:
            try:
                url = await stack.enter_async_context(running_tinyproxy(tmp_path, proxy.url))
            except TinyproxyMissing as missing:
                skip_or_fail(str(missing))
        monkeypatch.setenv("https_proxy", url if login is None else url.replace("//", f"//{login}@"))
        found = await judged(served, f"https://{OUTSIDE}")
    assert found["status"] == "ok", found
    assert f"CONNECT {OUTSIDE}:443" in proxy.seen


async def test_a_proxy_that_refuses_is_told(
    served: Served, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_proxy({}, login="me:secret-pass") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:wrong-pass@"))
        found = await judged(served, f"https://{OUTSIDE}")
    assert found["status"] == "unknown"
    assert "407" in found["detail"]
    assert "wrong-pass" not in str(found)
