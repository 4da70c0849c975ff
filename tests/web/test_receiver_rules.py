"""Who may send, how often, and with which secret: addresses, proxies, rate, rotation, unsigned mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.clock import Clock
from tests.support.signed import OTHER_SECRET, PATH, SECRET, Raw, prediction, request_bytes, signed
from tests.support.webapp import Served, running_app

PROVIDER = "/api/cloud/providers/replicate"
ALLOWED = {"TUNERD_WEBHOOK_SECRET": SECRET, "TUNERD_WEBHOOK_ALLOWED_IPS": "198.51.100.0/24, 2001:db8::/32"}


async def status_of(served: Served, headers: dict[str, str], body: bytes = b"{}") -> tuple[int, str]:
    """The answer's status, with the problem's code or the event's status."""
    async with served.session.post(served.url + PATH, data=body, headers=headers) as answer:
        found = await answer.json(content_type=None)
        if answer.status in {429, 503}:
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status, found.get("code") or found["status"]


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("198.51.100.7", (200, "accepted")),
        ("198.51.100.7:4711", (200, "accepted")),
        ("::ffff:198.51.100.7", (200, "accepted")),
        ("[2001:db8::7]:4711", (200, "accepted")),
        ("203.0.113.9, 198.51.100.7", (200, "accepted")),
        ("198.51.100.7, 203.0.113.9", (403, "ip_not_allowed")),  # the left-most is the client's own invention
        ("203.0.113.9", (403, "ip_not_allowed")),
        ("2001:db9::1", (403, "ip_not_allowed")),
        ("", (400, "forwarded_invalid")),
        ("unknown", (400, "forwarded_invalid")),
        ("198.51.100.7,", (400, "forwarded_invalid")),
        (None, (403, "ip_not_allowed")),
    ],
)
async def test_the_ip_rule_behind_a_proxy(tmp_path: Path, forwarded: str | None, expected: tuple[int, str]) -> None:
    async with running_app(tmp_path, environ=ALLOWED) as served:
        headers = signed(b"{}") if forwarded is None else {**signed(b"{}"), "X-Forwarded-For": forwarded}
        assert await status_of(served, headers) == expected


async def test_an_untrusted_peer_cannot_speak_for_others(tmp_path: Path) -> None:
    environ = {**ALLOWED, "TUNERD_TRUSTED_PROXIES": "192.0.2.1"}
    async with running_app(tmp_path, environ=environ) as served:
        for forwarded in ("198.51.100.7", "garbage"):
            headers = {**signed(b"{}"), "X-Forwarded-For": forwarded}
            assert await status_of(served, headers) == (403, "ip_not_allowed")


async def test_the_ip_rule_comes_first(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ=ALLOWED) as served:
        assert await status_of(served, {}) == (403, "ip_not_allowed")


async def test_an_ip_rule_of_the_api_applies_at_once(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_WEBHOOK_SECRET": SECRET}) as served:
        assert await status_of(served, signed(b"{}")) == (200, "accepted")
        await served.call("PUT", PROVIDER, json={"webhook_allowed_ips": ["198.51.100.7"]})
        assert await status_of(served, signed(b"{}", "msg_2")) == (403, "ip_not_allowed")
        await served.call("PUT", PROVIDER, json={"webhook_allowed_ips": []})
        assert await status_of(served, signed(b"{}", "msg_2")) == (200, "accepted")


async def test_too_many_from_one_address(tmp_path: Path) -> None:
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET, "TUNERD_WEBHOOK_RATE_PER_SECOND": "2"}
    async with running_app(tmp_path, environ=environ) as served:
        flood = [await status_of(served, signed(b"{}")) for _ in range(8)]
        assert flood[0] == (200, "accepted")
        assert flood[-1] == (429, "rate_limited")
        other = {**signed(b"{}"), "X-Forwarded-For": "198.51.100.7"}
        assert await status_of(served, other) == (200, "duplicate")


async def test_a_few_hundred_jobs_are_not_too_many(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_WEBHOOK_SECRET": SECRET}) as served:
        answers = await asyncio.gather(*(status_of(served, signed(b"{}", f"msg_{n}")) for n in range(600)))
        assert set(answers) == {(200, "accepted")}


async def test_unsigned_events_are_stored_as_such(tmp_path: Path) -> None:
    environ = {"TUNERD_WEBHOOK_REQUIRE_SIGNATURE": "false"}
    async with running_app(tmp_path, environ=environ) as served:
        assert await status_of(served, {}, prediction("p1")) == (200, "accepted")
        assert await status_of(served, {}, prediction("p1")) == (200, "duplicate")
        assert await status_of(served, signed(b"{}", secret=OTHER_SECRET), b"{}") == (200, "accepted")
        odd = {"webhook-id": "é" * 2000, "webhook-timestamp": "\udcff", "webhook-signature": "é"}
        odd = {name: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name, value in odd.items()}
        assert await status_of(served, odd, b"[]") == (200, "accepted")
        rows = await served.store.journal.events()
        assert [row.verified for row in rows] == [False, False, False]
        assert rows[0].webhook_id.startswith("unsigned_")
        assert rows[1].webhook_id == "msg_1"
        assert rows[2].webhook_id.startswith("hashed_")


class Provider:
    """Replicate's secret endpoint, with a secret that can be changed and a fault that can be switched on."""

    def __init__(self) -> None:
        self.secret = SECRET
        self.status = 200
        self.asked = 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"key": self.secret}, status=self.status)


@asynccontextmanager
async def with_provider(directory: Path, **environ: str) -> AsyncIterator[tuple[Served, Provider, Clock]]:
    provider, clock, application = Provider(), Clock(1_700_000_000.0), web.Application()
    application.router.add_get("/v1/webhooks/default/secret", provider.answer)
    async with TestServer(application) as server:
        url, environ = str(server.make_url("")).rstrip("/"), {"REPLICATE_API_TOKEN": "r8_test", **environ}
        async with running_app(directory, replicate_url=url, environ=environ, clock=clock) as served:
            yield served, provider, clock


def sent(clock: Clock, webhook_id: str, **more: Any) -> dict[str, str]:
    return signed(b"{}", webhook_id, at=clock.now, **more)


async def test_a_fetched_secret_is_fetched_once(tmp_path: Path) -> None:
    async with with_provider(tmp_path) as (served, provider, clock):
        for number in range(3):
            assert await status_of(served, sent(clock, f"msg_{number}")) == (200, "accepted")
        assert provider.asked == 1


async def test_rotation_loses_nothing(tmp_path: Path) -> None:
    async with with_provider(tmp_path) as (served, provider, clock):
        assert await status_of(served, sent(clock, "msg_1")) == (200, "accepted")
        provider.secret = OTHER_SECRET
        # Fetched less than a minute ago: whoever signs with another secret is wrong.
        assert await status_of(served, sent(clock, "msg_2", secret=OTHER_SECRET)) == (401, "signature_invalid")
        clock.now += 61
        rotated = [status_of(served, sent(clock, f"msg_{n}", secret=OTHER_SECRET)) for n in range(2, 12)]
        assert set(await asyncio.gather(*rotated)) == {(200, "accepted")}
        assert await status_of(served, sent(clock, "msg_20")) == (200, "accepted")  # signed before, still on its way
        assert provider.asked == 2


async def test_a_bad_signature_asks_the_provider_once_a_minute(tmp_path: Path) -> None:
    async with with_provider(tmp_path) as (served, provider, clock):
        for minute in range(3):
            for number in range(5):
                assert await status_of(served, sent(clock, f"msg_{number}", secret=OTHER_SECRET)) == (
                    401,
                    "signature_invalid",
                )
            assert provider.asked == minute + 1
            clock.now += 61


async def test_while_the_secret_cannot_be_known(tmp_path: Path) -> None:
    async with with_provider(tmp_path) as (served, provider, clock):
        provider.status = 403
        assert await status_of(served, sent(clock, "msg_1")) == (503, "not_ready")
        assert await status_of(served, {}) == (401, "signature_missing")  # told before any secret is needed
        provider.status = 200
        clock.now += 61
        assert await status_of(served, sent(clock, "msg_1")) == (200, "accepted")
        provider.status = 403
        clock.now += 61
        assert await status_of(served, sent(clock, "msg_2", secret=OTHER_SECRET)) == (503, "not_ready")
        assert await status_of(served, sent(clock, "msg_3")) == (200, "accepted")  # the known secret stays good


async def test_without_token_and_secret(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        assert await status_of(served, signed(b"{}")) == (503, "not_ready")


async def test_a_pinned_secret_is_never_fetched(tmp_path: Path) -> None:
    async with with_provider(tmp_path, TUNERD_WEBHOOK_SECRET=SECRET) as (served, provider, clock):
        clock.now += 3600
        assert await status_of(served, sent(clock, "msg_1", secret=OTHER_SECRET)) == (401, "signature_invalid")
        assert await status_of(served, sent(clock, "msg_1")) == (200, "accepted")
        assert provider.asked == 0


@pytest.mark.parametrize("sent", ["msg_é", "m" * 500, "m" * 501, "ü" * 2000, "msg_\t1", "msg_\udcff"])
async def test_whatever_the_id_is_the_event_can_be_verified_again(tmp_path: Path, sent: str) -> None:
    body = prediction("p1")
    async with running_app(tmp_path, environ={"TUNERD_WEBHOOK_SECRET": SECRET}) as served:
        request = request_bytes(body, **signed(body, webhook_id=sent))
        raw = await Raw.open(served.url)
        for _ in range(2):
            await raw.send(request)
            status, _headers, _body = await raw.answer()
            assert status == 200
        await raw.close()
        (row,) = await served.store.journal.events()
        assert (row.webhook_id == sent) is (len(sent) <= 500 and sent.isprintable())
        found = await served.store.journal.body(row.seq)
        assert found is not None
        assert found.webhook_id == sent
        async with served.session.get(f"{served.url}/api/cloud/events/{row.seq}/verify") as answer:
            assert (await answer.json())["verdict"] == "valid"
        async with served.session.get(f"{served.url}/api/cloud/events/{row.seq}/body") as answer:
            assert answer.headers["webhook-id"] == sent.replace("\udcff", "?")  # no text: only its bytes were sent
