"""What the page of settings tells beside its forms: the signing secret's state, and the ways out of this machine."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from daemon.sandbox.server import Sandbox
from tests.support.health import QUIET
from tests.support.webapp import Served, running_app

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PROXY = {"https_proxy": "http://me:secret-pass@proxy.example:3128", "no_proxy": "localhost,127.0.0.1"}


async def facts(served: Served) -> dict[str, str]:
    """The words of the page's lists of facts, by their titles."""
    async with served.session.get(served.url + "/settings") as answer:
        text = await answer.text()
    assert "secret-pass" not in text and SECRET not in text
    found = re.findall(r"<dt>(.+?)</dt><dd[^>]*>(.*?)</dd>", text, re.DOTALL)
    return {title: " ".join(unescape(re.sub(r"<[^>]+>", "", words)).split()) for title, words in found}


async def test_the_signing_secret_is_told_by_where_it_is_from(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=QUIET) as served:
        shown = await facts(served)
        assert (shown["Signing secret"][:13], shown["Signatures"]) == ("not known yet", "required")
    environ = QUIET | {"TUNERD_WEBHOOK_SECRET": SECRET, "TUNERD_WEBHOOK_REQUIRE_SIGNATURE": "false"}
    async with running_app(tmp_path, environ=environ) as served:
        shown = await facts(served)
        assert shown["Signing secret"] == "given by the settings (1)"
        assert "anyone can forge events" in shown["Signatures"]
    async with Sandbox() as sandbox:
        environ = QUIET | {"REPLICATE_API_TOKEN": sandbox.api_token}
        async with running_app(tmp_path, replicate_url=sandbox.url, environ=environ) as served:
            await served.get("/api/cloud/health?fresh=true")  # something that needs it
            assert (await facts(served))["Signing secret"].startswith("fetched from Replicate ")


async def test_the_ways_out_are_told_without_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app(tmp_path, environ=QUIET) as served:
        assert (await facts(served))["Proxy"] == "none"
        for name, value in PROXY.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
        (tmp_path / "company.pem").touch()
        shown = await facts(served)
    assert shown["Proxy"] == "http://proxy.example:3128 for https"
    assert shown["Past it"] == PROXY["no_proxy"]
    assert shown["Replicate's API"] == "goes past it"
    assert shown["Authorities"].endswith("company.pem")
