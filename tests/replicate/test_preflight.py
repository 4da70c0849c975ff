"""Whether a webhook URL leads to this daemon: tried with a signed probe before anything is paid for."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from daemon.core.signature import Verdict, verify
from daemon.errors import NotReady, WebhookUrlInvalid
from daemon.parsing import WEBHOOK_PATH, decode_webhook_secret
from daemon.replicate.preflight import Preflight
from daemon.replicate.webhook_secret import WebhookSecrets
from tests.support.webapp import Served, running_app

from .conftest import Clock, Counterpart, World

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


class Secrets(WebhookSecrets):
    """The keys of ``SECRET``, or none that can be known now."""

    def __init__(self, *, known: bool = True) -> None:
        self._known = known

    async def get(self) -> tuple[bytes, ...]:
        if not self._known:
            raise NotReady("not now")
        return (decode_webhook_secret(SECRET),)


async def our_id() -> str:
    return "us"


class Here(AbstractResolver):
    """Every name is this machine, so that a URL that is not a loopback one leads to a server of the test."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@pytest.fixture
async def preflight(clock: Clock) -> AsyncIterator[Preflight]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Here(), family=socket.AF_INET)) as session:
        yield Preflight(session, Secrets(), our_id, now=clock)


def public(counterpart: Counterpart) -> str:
    """Its URL under a name that is no loopback one."""
    return counterpart.url.replace("127.0.0.1", "tuner.example")


US: dict[str, Any] = {"data": {"status": "probe", "daemon": "us"}}


async def test_a_probe_is_signed_and_what_led_to_us_is_not_asked_again_at_once(
    preflight: Preflight, counterpart: Counterpart, clock: Clock
) -> None:
    counterpart.say(US)
    assert await preflight.check(counterpart.url) is None
    [request], [body] = counterpart.seen, counterpart.bodies
    assert (request.method, request.path) == ("POST", WEBHOOK_PATH)
    signed = [request.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")]
    assert verify([decode_webhook_secret(SECRET)], *signed, body, now=clock.now) is Verdict.OK
    assert "Authorization" not in request.headers
    assert await preflight.check(counterpart.url) is None
    assert len(counterpart.seen) == 1
    clock.now += 61
    assert await preflight.check(counterpart.url) is None
    assert len(counterpart.seen) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            {"status": 301, "data": {}, "headers": {"Location": "https://www.example.com/x"}},
            "redirects to 'https://www",
        ),
        ({"status": 308, "data": {}}, "redirects to 'elsewhere'"),
        ({"status": 200, "data": {"status": "probe", "daemon": "another"}}, "another program answers"),
        ({"status": 200, "data": {"status": "accepted", "event": "unrecognized", "job_id": None}}, "another program"),
        ({"status": 200, "data": ["probe"]}, "another program"),
        ({"status": 204, "data": None}, "another program"),
        ({"status": 404, "data": {"msg": "tunnel not found"}}, "another program answers there (status 404)"),
        ({"status": 401, "data": {"code": "signature_invalid", "detail": "No v1 entry"}}, "another program"),
        ({"status": 502, "data": {}}, "answers 502: it does not reach this daemon"),
        ({"status": 530, "data": {}}, "answers 530"),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else "",
)
async def test_what_certainly_leads_elsewhere_is_refused(
    preflight: Preflight, counterpart: Counterpart, answer: dict[str, Any], reason: str
) -> None:
    counterpart.say(answer)
    with pytest.raises(WebhookUrlInvalid) as refused:
        await preflight.check(public(counterpart))
    assert reason in refused.value.detail and public(counterpart) in refused.value.detail
    assert refused.value.extra["field"] == "webhook_url"
    doubt = await preflight.check(counterpart.url)  # a loopback URL is one for development
    assert doubt is not None and reason in doubt
    counterpart.seen.clear()
    counterpart.say(US)
    assert await preflight.check(public(counterpart)) is None  # a refusal is not remembered


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 403, "data": {}},  # a proxy that lets Replicate's addresses in, and not ours
        {"status": 403, "data": {"code": "ip_not_allowed", "detail": "203.0.113.9 is not in webhook_allowed_ips."}},
        {"status": 429, "data": {}},
        {"status": 503, "data": {"code": "not_ready", "detail": "The daemon is stopping. Send it again."}},
    ],
    ids=["proxy", "allowlist", "throttled", "stopping"],
)
async def test_what_cannot_be_told_is_said_and_not_refused(
    preflight: Preflight, counterpart: Counterpart, answer: dict[str, Any]
) -> None:
    counterpart.say(answer)
    doubt = await preflight.check(counterpart.url)
    assert doubt is not None and str(answer["status"]) in doubt
    assert answer["data"].get("detail", "not let through") in doubt


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9", "nothing listens there"),
        ("http://localhost:9", "nothing listens there"),
        ("http://tuner.example:9", "could not be reached from this machine"),
    ],
)
async def test_where_nothing_answers_is_doubted(preflight: Preflight, url: str, reason: str) -> None:
    doubt = await preflight.check(url)
    assert doubt is not None and reason in doubt


async def test_silence_is_doubted(
    preflight: Preflight, counterpart: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.replicate.preflight._PROBE_SECONDS", 0.2)

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    counterpart.say(cut)
    doubt = await preflight.check(counterpart.url)
    assert doubt is not None and "could not be reached" in doubt


async def test_without_a_secret_nothing_is_sent(
    session: aiohttp.ClientSession, counterpart: Counterpart, clock: Clock
) -> None:
    doubt = await Preflight(session, Secrets(known=False), our_id, now=clock).check(counterpart.url)
    assert doubt is not None and "not tried" in doubt
    assert counterpart.seen == []


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path, environ={"TUNERD_WEBHOOK_SECRET": SECRET}) as running:
        yield running


async def test_a_probe_comes_round_to_the_real_receiver_and_leaves_no_event(
    session: aiohttp.ClientSession, served: Served, clock: Clock
) -> None:
    async def its_id() -> str:
        return await served.store.settings.daemon_id(clock.now)

    assert await Preflight(session, Secrets(), its_id, now=clock).check(served.url) is None
    assert await served.store.journal.last_seq() == 0
    doubt = await Preflight(session, Secrets(), our_id, now=clock).check(served.url)
    assert doubt is not None and "another program" in doubt  # of the same account, with another database


async def test_a_submit_is_refused_before_anything_is_sent(
    world: World, preflight: Preflight, counterpart: Counterpart
) -> None:
    from daemon.replicate.request import SubmitRequest

    class Behind:
        """A proxy that speaks TLS for the counterpart."""

        async def check(self, base: str) -> str | None:
            assert base == "https://tuner.example"
            return await preflight.check(public(counterpart))

    world.submitter._preflight = Behind()  # type: ignore[assignment]
    order = SubmitRequest(model="acme/hello", input={"text": "x"}, webhook_url="https://tuner.example")
    counterpart.say({"status": 302, "data": {}})
    with pytest.raises(WebhookUrlInvalid):
        await world.submitter.submit(order)
    assert not world.sandbox.predictions
    assert (await world.store.jobs.list())[2] == 0
    counterpart.say({"status": 403, "data": {}})
    answer = (await world.submitter.submit(order)).body
    assert "was not proven" in answer["webhook_warning"]
    counterpart.say(US)
    assert "webhook_warning" not in (await world.submitter.submit(order)).body
