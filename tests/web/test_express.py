"""Which webhooks go the short way, and that each is judged, counted and kept as on the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import keys
from daemon.errors import NotReady
from daemon.web import express
from daemon.web.rate import RateLimit
from daemon.web.receiver import RECEIVER
from daemon.web.verifying import examine
from tests.support.signed import SECRET, connected, prediction, request_bytes, signed, webhook
from tests.support.webapp import Served, running_app
from tests.web.conftest import SlowStore, Ways

LONG = {"Expect": "100-continue"}  # a head that always goes the long way


async def test_the_answer_is_that_of_the_long_way(served: Served, ways: Ways) -> None:
    body = prediction()
    async with connected(served.url) as raw:
        await raw.send(webhook(body))
        short = await raw.answer()
        await raw.send(webhook(body, **LONG))
        assert b" 100 " in await raw.reader.readuntil(b"\r\n\r\n")
        long = await raw.answer()
    assert (ways.short, ways.long) == (1, 0)
    assert (short[0], short[2]["status"]) == (200, "accepted")
    assert (long[0], long[2]["status"]) == (200, "duplicate")
    assert short[2]["job_id"] == long[2]["job_id"]
    assert short[1].keys() == long[1].keys()
    same = short[1].keys() - {"x-request-id", "content-length", "date"}
    assert {name: short[1][name] for name in same} == {name: long[1][name] for name in same}


async def test_what_is_not_plainly_good_goes_the_long_way(served: Served, ways: Ways) -> None:
    good, other = prediction(), prediction("p2")
    stale = {name.replace("-", "_"): value for name, value in signed(good, at=1.0).items()}
    forged = {**stale, **{name.replace("-", "_"): value for name, value in signed(other).items()}}
    async with connected(served.url) as raw:
        for request, code in (
            (request_bytes(good, **stale), "timestamp_out_of_tolerance"),
            (request_bytes(good, **forged), "signature_invalid"),
            (request_bytes(good), "signature_missing"),
        ):
            await raw.send(request)
            status, headers, found = await raw.answer()
            assert (status, found["code"]) == (401, code)
            assert headers["content-type"] == "application/problem+json"
        await raw.send(webhook(b"{}"))
        assert (await raw.answer())[2]["event"] == "unrecognized"
        await raw.send(webhook(good, "msg_2"))
        assert (await raw.answer())[2]["job_id"] == "job_p1"
    assert ways.short == 1
    assert [row.webhook_id for row in await served.store.journal.events()] == ["msg_1", "msg_2"]
    counted = served.app[keys.METRICS].webhook_requests
    assert counted.labels("signature_invalid")._value.get() == 1  # told once, though it was judged twice


async def test_an_unexpected_fault_costs_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "examine", lambda *_: 1 / 0)
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction()))
        assert (await raw.answer())[2]["status"] == "accepted"


async def test_a_store_that_refuses_is_asked_again_the_long_way(served: Served, slow: SlowStore, ways: Ways) -> None:
    slow.error = NotReady("The store is not available: the disk is full.", retry_after=5)
    slow.release.set()
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction()))
        assert (await raw.answer())[2]["status"] == "accepted"
        assert ways.short == 1
        served.store.journal.writer.cancel()
        await raw.send(webhook(prediction(), "msg_2"))
        status, headers, found = await raw.answer()
        assert (status, found["code"]) == (503, "not_ready")
        assert int(headers["retry-after"]) > 0
        await raw.send(request_bytes(method="GET", path="/healthz"))
        assert (await raw.answer())[0] == 200


@pytest.mark.parametrize("more", [{}, LONG], ids=["short", "long"])
async def test_the_rate_comes_before_the_signature(
    served: Served, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    """Whichever way it goes; and what is refused for its signature counts as any other."""
    two_an_hour = RateLimit(1 / 3600, burst_seconds=7200)
    monkeypatch.setattr(served.app[RECEIVER], "_rate", two_an_hour)
    answers = []
    for request in (request_bytes(prediction(), **more), webhook(prediction(), **more)) * 2:
        async with connected(served.url) as raw:
            await raw.send(request)
            if more:
                assert b" 100 " in await raw.reader.readuntil(b"\r\n\r\n")
            status, _, found = await raw.answer()
            answers.append((status, found.get("code")))
    assert answers == [(401, "signature_missing"), (200, None), (429, "rate_limited"), (429, "rate_limited")]


async def test_one_more_than_the_rate_lets_in_is_not_verified(
    tmp_path: Path, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[object] = []
    monkeypatch.setattr(express, "examine", lambda *given: examined.append(given) or examine(*given))
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET, "TUNERD_WEBHOOK_RATE_PER_SECOND": "1"}  # two at once
    async with running_app(tmp_path, environ=environ) as served, connected(served.url) as raw:
        statuses = []
        while 429 not in statuses:
            await raw.send(webhook(prediction(), f"msg_{len(statuses)}"))
            statuses.append((await raw.answer())[0])
    assert ways.short == len(examined) == statuses.count(200) == len(statuses) - 1


async def test_what_the_store_refused_is_counted_once(tmp_path: Path, slow: SlowStore, ways: Ways) -> None:
    environ = {"TUNERD_WEBHOOK_SECRET": SECRET, "TUNERD_WEBHOOK_RATE_PER_SECOND": "1"}  # two at once
    slow.release.set()
    async with running_app(tmp_path, environ=environ) as served, connected(served.url) as raw:
        for number in range(2):
            slow.error = NotReady("The store is not available: the disk is full.", retry_after=5)
            await raw.send(webhook(prediction(), f"msg_{number}"))
            assert (await raw.answer())[2]["status"] == "accepted"
    assert (ways.short, ways.long) == (2, 0)


async def test_a_request_id_of_the_proxy_comes_back(served: Served, ways: Ways) -> None:
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction(), X_Request_ID="abc-1"))
        assert (await raw.answer())[1]["x-request-id"] == "abc-1"  # loopback is a trusted proxy
    assert ways.short == 1
