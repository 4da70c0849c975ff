"""Webhooks on the wire: signed, throttled, repeated at the end, and wrong where asked."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
import standardwebhooks
import svix

from daemon.core.signature import Verdict, verify
from daemon.parsing import decode_webhook_secret
from daemon.sandbox import Sandbox
from tests.sandbox.conftest import Api, settled
from tests.support.receiver import Received, Receiver
from tests.support.waiting import until


def verdict(item: Received, secret: str, body: bytes | None = None) -> Verdict:
    key, headers = decode_webhook_secret(secret), item.headers
    timestamp = headers["webhook-timestamp"]
    return verify(
        (key,),
        headers["webhook-id"],
        timestamp,
        headers["webhook-signature"],
        item.body if body is None else body,
        now=float(timestamp),
    )


async def run_to_end(api: Api, receiver: Receiver, **given: Any) -> list[Received]:
    await api.predict(webhook=receiver.url, **given)
    return await receiver.wait_for_end()


async def test_start_logs_completed(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    received = await run_to_end(api, receiver, output="file:x:10", run_seconds=8, steps=100)
    bodies = [item.json() for item in received]
    assert (bodies[0]["status"], bodies[0]["started_at"], bodies[0]["logs"]) == ("starting", None, "")
    assert receiver.statuses()[1:] == ["processing"] * (len(received) - 2) + ["succeeded"]
    assert 5 < len(received) < 30  # 8 s of logs at two a second, and less
    for earlier, later in itertools.pairwise(bodies):
        assert later["logs"].startswith(earlier["logs"])
    assert bodies[-1]["output"].startswith(sandbox.url)
    assert "webhook_events_filter" in bodies[0] and bodies[0]["webhook"] == receiver.url
    assert len({item.webhook_id for item in received}) == len(received)
    assert all(verdict(item, sandbox.webhook_secret) is Verdict.OK for item in received)
    assert all(item.headers["content-type"] == "application/json" for item in received)


async def test_other_libraries_accept_them(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    for item in await run_to_end(api, receiver):
        for library in (standardwebhooks.Webhook, svix.Webhook):
            library(sandbox.webhook_secret).verify(item.body, item.headers)


async def test_throttled_updates_are_dropped(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.webhook_throttle = 3600
    received = await run_to_end(api, receiver, run_seconds=8, steps=100)
    assert receiver.statuses() == ["starting", "processing", "succeeded"]
    assert len(received[-1].json()["logs"]) > 10 * len(received[1].json()["logs"])


async def test_an_iterator_model_shows_its_outputs_one_by_one(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.webhook_throttle = 0
    received = await run_to_end(api, receiver, shape="list", files=3, run_seconds=4)
    counts = [len(item.json()["output"] or []) for item in received]
    assert sorted(counts) == counts and {1, 2, 3} <= set(counts)


@pytest.mark.parametrize(
    ("wanted", "statuses"),
    [
        (["completed"], ["succeeded"]),
        (["start"], ["starting"]),
        (["start", "completed"], ["starting", "succeeded"]),
        ([], []),
        (None, ["succeeded"]),  # absent: output and completed
    ],
    ids=str,
)
async def test_the_filter_is_honoured(
    api: Api, sandbox: Sandbox, receiver: Receiver, wanted: list[str] | None, statuses: list[str]
) -> None:
    body = {"version": "acme/shapes", "input": {"run_seconds": 2}, "webhook": receiver.url}
    body |= {} if wanted is None else {"webhook_events_filter": wanted}
    created = await api.call("POST", "/v1/predictions", json=body, status=201)
    await sandbox.predictions[created["id"]].done.wait()
    await settled(sandbox)
    assert receiver.statuses() == statuses


async def test_only_the_end_is_repeated_signed_anew(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.answers = [500]
    sandbox.faults.webhook_clock_skew = 0
    await api.predict(webhook=receiver.url, run_seconds=1)
    await receiver.wait_for_end()
    receiver.answers = [404, 503, 200]
    await until(lambda: receiver.answers == [200])
    ends = [item for item in receiver.received if item.json()["status"] == "succeeded"]
    assert len({item.webhook_id for item in receiver.received}) == len(receiver.received) - len(ends) + 1
    assert len({item.body for item in ends}) == 1
    assert all(verdict(item, sandbox.webhook_secret) is Verdict.OK for item in ends)
    tried = [(each.event, each.attempt) for each in sandbox.deliveries]
    assert max(attempt for event, attempt in tried if event != "completed") == 1
    assert [attempt for event, attempt in tried if event == "completed"] == list(range(1, len(ends) + 1))


async def test_it_gives_up_after_about_a_minute(api: Api, receiver: Receiver) -> None:
    receiver.answers = [500]
    async with Sandbox(speed=1000) as sandbox:
        await Api(sandbox, api.session).call(
            "POST",
            "/v1/predictions",
            json={"version": "acme/hello", "input": {"text": "x"}, "webhook": receiver.url},
            headers={"Authorization": f"Bearer {sandbox.api_token}"},
            status=201,
        )
        await receiver.wait_for(7)
        await settled(sandbox)
    assert len(receiver.received) == 7


async def test_redirects_are_lost(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    receiver.answers = [301]
    await run_to_end(api, receiver, run_seconds=1)
    await settled(sandbox)
    assert receiver.statuses().count("succeeded") == 1


async def test_nobody_listens(api: Api, sandbox: Sandbox) -> None:
    await api.predict(webhook="http://127.0.0.1:9/", run_seconds=1)
    await until(lambda: any(each.event == "completed" and each.attempt == 2 for each in sandbox.deliveries))
    assert all(each.status is None and each.error for each in sandbox.deliveries)


async def test_a_receiver_that_hangs_does_not_hold_the_prediction(
    api: Api, sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.hang_seconds, sandbox.faults.webhook_timeout = 60, 0.1
    created = await api.predict(webhook=receiver.url, run_seconds=1)
    await asyncio.wait_for(sandbox.predictions[created["id"]].done.wait(), 30)
    await receiver.wait_for_end()
    assert any("no answer in time" in (each.error or "") for each in sandbox.deliveries)


@pytest.mark.parametrize(
    ("drop", "left"),
    [
        (["start"], {"processing", "succeeded"}),
        (["logs"], {"starting", "succeeded"}),
        (["completed"], {"starting", "processing"}),
        (["start", "logs", "output", "completed"], set()),
    ],
    ids=lambda value: "-".join(sorted(value)) or "nothing",
)
async def test_dropped(api: Api, sandbox: Sandbox, receiver: Receiver, drop: list[Any], left: set[str]) -> None:
    sandbox.faults.webhook_drop = drop
    created = await api.predict(webhook=receiver.url, run_seconds=8, steps=100)
    await sandbox.predictions[created["id"]].done.wait()
    await settled(sandbox)
    assert set(receiver.statuses()) == left


async def test_duplicates_keep_their_id(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.webhook_duplicates = 2
    await run_to_end(api, receiver, run_seconds=1)
    received = await receiver.wait_for(3 * len({item.webhook_id for item in receiver.received}))
    for item in received:
        assert [other.body for other in received if other.webhook_id == item.webhook_id] == [item.body] * 3


async def test_reordered(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.webhook_reorder = True
    await run_to_end(api, receiver, run_seconds=8, steps=100)
    await settled(sandbox)
    statuses = receiver.statuses()
    assert statuses[0] != "starting"
    assert statuses[-1] == "processing"
    assert set(statuses) == {"starting", "processing", "succeeded"}
    lengths = [len(item.json()["logs"]) for item in receiver.received]
    assert lengths != sorted(lengths)


async def test_delayed_and_overtaken(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.webhook_delay, sandbox.faults.webhook_jitter = 1, 6
    created = await api.predict(webhook=receiver.url, run_seconds=8, steps=100)
    await sandbox.predictions[created["id"]].done.wait()
    await receiver.wait_for_end()
    await settled(sandbox)
    lengths = [len(item.json()["logs"]) for item in receiver.received]
    assert lengths != sorted(lengths)


SIGNATURES: Mapping[str, tuple[dict[str, Any], Verdict]] = {
    "wrong": ({"webhook_sign_with": "wrong"}, Verdict.INVALID),
    "old": ({"webhook_sign_with": "old"}, Verdict.INVALID),
    "both": ({"webhook_sign_with": "both"}, Verdict.OK),
    "current": ({}, Verdict.OK),
    "extra": ({"webhook_extra_signatures": True}, Verdict.OK),
}


@pytest.mark.parametrize("name", SIGNATURES)
async def test_signed_by(api: Api, sandbox: Sandbox, receiver: Receiver, name: str) -> None:
    faults, expected = SIGNATURES[name]
    sandbox.faults.update(faults)
    before = sandbox.webhook_secret
    after = (await api.call("POST", "/_sandbox/rotate-secret"))["key"]
    assert before != after == sandbox.webhook_secret
    assert await api.call("GET", "/v1/webhooks/default/secret") == {"key": after}
    for item in await run_to_end(api, receiver, run_seconds=1):
        assert verdict(item, after) is expected
        assert (verdict(item, before) is Verdict.OK) == (name in {"old", "both"})


async def test_a_clock_that_is_wrong(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.webhook_clock_skew = -3600
    item = (await run_to_end(api, receiver, run_seconds=1))[0]
    assert abs(int(item.headers["webhook-timestamp"]) + 3600 - sandbox.predictions[item.json()["id"]].created_at) < 5


@pytest.mark.parametrize("mode", ["sign_wire", "sign_plain"])
async def test_gzip(api: Api, sandbox: Sandbox, receiver: Receiver, mode: str) -> None:
    sandbox.faults.update({"webhook_gzip": mode})
    await api.predict(webhook=receiver.url, run_seconds=1)
    item = (await receiver.wait_for(1))[0]
    assert item.headers["content-encoding"] == "gzip"
    plain = gzip.decompress(item.body)
    assert json.loads(plain)["status"] == "starting"
    signed = item.body if mode == "sign_wire" else plain
    assert verdict(item, sandbox.webhook_secret, signed) is Verdict.OK


@pytest.mark.parametrize("style", ["go", "django", "python"])
@pytest.mark.parametrize("order", ["style", "reversed", "shuffled"])
async def test_bodies_in_every_style(api: Api, sandbox: Sandbox, receiver: Receiver, style: str, order: str) -> None:
    sandbox.faults.update(
        {"webhook_style": style, "webhook_key_order": order, "webhook_trailing_newline": True, "timestamp_digits": 9}
    )
    sandbox.faults.extra_keys, sandbox.faults.unknown_status = {"new_field": {"a": 1}}, "rebooting"
    received = await run_to_end(api, receiver, run_seconds=2, steps=5)
    assert set(receiver.statuses()) == {"starting", "rebooting", "succeeded"}
    last = received[-1]
    assert last.body.endswith(b"}\n") and last.json()["new_field"] == {"a": 1}
    assert len(last.json()["completed_at"]) == len("2026-01-05T10:00:00.123456789Z")
    bar = {"go": "█| 5/5 [00:02\\u003c", "django": "█| 5/5 [00:02<", "python": "\\u2588| 5/5 [00:02<"}[style]
    assert bar.encode() in last.body
    keys = list(last.json())
    assert (keys == sorted(keys, reverse=True)) == (order == "reversed")
    assert all(verdict(item, sandbox.webhook_secret) is Verdict.OK for item in received)


async def test_huge_logs(api: Api, receiver: Receiver) -> None:
    received = await run_to_end(api, receiver, log_bytes=3_000_000, run_seconds=1)
    assert len(received[1].body) > 3_000_000


async def test_the_webhook_need_not_be_echoed(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.faults.echo_webhook = False
    created = await api.predict(webhook=receiver.url, run_seconds=1)
    await receiver.wait_for_end()
    listed = (await api.call("GET", "/v1/predictions"))["results"][0]
    shown = await api.get(created["id"])
    for body in (created, listed, shown, receiver.received[-1].json()):
        assert "webhook" not in body
