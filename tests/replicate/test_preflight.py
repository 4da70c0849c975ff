"""Whether a webhook URL leads to this daemon: tried with a signed probe before anything is paid for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

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


@pytest.fixture
def preflight(session: aiohttp.ClientSession, clock: Clock) -> Preflight:
    return Preflight(session, Secrets(), our_id, now=clock)


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
        await preflight.check(counterpart.url)
    assert reason in refused.value.detail and counterpart.url in refused.value.detail
    assert refused.value.extra["field"] == "webhook_url"
    counterpart.seen.clear()
    counterpart.say(US)
    assert await preflight.check(counterpart.url) is None  # a refusal is not remembered


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


async def test_a_port_of_this_machine_without_a_listener_is_refused_one_elsewhere_is_doubted(
    preflight: Preflight,
) -> None:
    with pytest.raises(WebhookUrlInvalid, match="nothing listens there"):
        await preflight.check("http://127.0.0.1:9")
    doubt = await preflight.check("https://0.0.0.0:9")
    assert doubt is not None and "could not be reached from this machine" in doubt


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
    with pytest.raises(WebhookUrlInvalid, match="another program"):  # of the same account, with another database
        await Preflight(session, Secrets(), our_id, now=clock).check(served.url)


async def test_a_submit_is_refused_before_anything_is_sent(
    world: World, preflight: Preflight, counterpart: Counterpart
) -> None:
    from daemon.replicate.request import SubmitRequest

    world.submitter._preflight = preflight
    order = SubmitRequest(model="acme/hello", input={"text": "x"}, webhook_url=counterpart.url)
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
