"""The short way of a webhook takes bodies as they come, in pieces and several at once, and answers in order."""

from __future__ import annotations

import asyncio

import pytest

from daemon.web import connection
from tests.support.signed import connected, prediction, request_bytes, webhook
from tests.support.waiting import until
from tests.support.webapp import Served
from tests.web.conftest import SlowStore, Ways


@pytest.mark.parametrize("cut", [1, 200, -1, -60])
async def test_a_body_in_pieces(served: Served, ways: Ways, cut: int) -> None:
    whole = webhook(prediction(logs="x" * 20_000))
    async with connected(served.url) as raw:
        await raw.send(whole[:cut])
        await asyncio.sleep(0.05)
        await raw.send(whole[cut:])
        assert (await raw.answer())[2]["status"] == "accepted"
    assert (ways.short, ways.long) == (1, 0)


async def test_what_comes_meanwhile_is_answered_afterwards(served: Served, slow: SlowStore, ways: Ways) -> None:
    async with connected(served.url) as raw:
        await raw.send(webhook(prediction("p1"), "msg_1"))
        await until(lambda: ways.short == 1)
        await raw.send(request_bytes(method="GET", path="/healthz"))
        await raw.send(webhook(prediction("p2"), "msg_2"))
        await asyncio.sleep(0.1)
        slow.release.set()
        assert (await raw.answer())[2]["job_id"] == "job_p1"
        assert (await raw.answer())[0] == 200
        assert (await raw.answer())[2]["job_id"] == "job_p2"


async def test_bodies_that_are_waited_for_share_a_bound(
    served: Served, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ARRIVING_BYTES", 30_000)
    first, second = webhook(prediction("p1", logs="x" * 20_000)), webhook(prediction("p2", logs="x" * 20_000), "msg_2")
    async with connected(served.url) as one, connected(served.url) as two:
        await one.send(first[:-10])
        await asyncio.sleep(0.1)
        await two.send(second[:-10])
        await asyncio.sleep(0.1)
        await two.send(second[-10:])
        assert (await two.answer())[2]["status"] == "accepted"
        assert ways.short == 0
        await one.send(first[-10:])
        assert (await one.answer())[2]["status"] == "accepted"
        assert ways.short == 1
        await one.send(first[:-10])
        await asyncio.sleep(0.1)
    async with connected(served.url) as three:  # what the first had reserved is free again
        third = webhook(prediction("p3", logs="x" * 20_000), "msg_3")
        await three.send(third[:-10])
        await asyncio.sleep(0.1)
        await three.send(third[-10:])
        assert (await three.answer())[2]["status"] == "accepted"
        assert ways.short == 2
