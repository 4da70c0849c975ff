"""What ``tunerd trigger`` sends, judged by our own verifier and by a receiver that refuses."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import aiohttp
import pytest

from daemon.core.events import EventKind, Seen, derive_kind, output_digest
from daemon.core.prediction import parse_prediction
from daemon.core.signature import Verdict, verify
from daemon.parsing import decode_webhook_secret
from daemon.sandbox.encoders import encode
from daemon.sandbox.scenarios import KINDS, SCENARIOS, Answer, make_event, send_event, send_signed
from tests.support.receiver import Received, Receiver

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = 1_767_600_000.0


async def run(name: str, receiver: Receiver) -> list[Answer]:
    async with aiohttp.ClientSession() as session:
        started = SCENARIOS[name](session, receiver.url, SECRET, clock=lambda: NOW, rng=random.Random(1))
        return [answer async for answer in started]


def judged(item: Received) -> Verdict:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    webhook_id, timestamp, signature = (item.headers.get(name) for name in names)
    return verify((decode_webhook_secret(SECRET),), webhook_id, timestamp, signature, item.body, now=NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_derived_as_itself(kind: str) -> None:
    body = make_event(kind, now=NOW, rng=random.Random(1))
    prediction = parse_prediction(encode(body, "go"))
    assert prediction is not None
    assert derive_kind(Seen(), prediction) is EventKind(kind)
    before = Seen(events=3, logs_chars=len(prediction.logs), output_digest=output_digest(prediction.output))
    assert derive_kind(before, prediction) in {EventKind(kind), EventKind.LOGS}


def test_any_path_of_an_event_can_be_set() -> None:
    wanted = {
        "id": "abc",
        "output": ["a"],
        "output.1": "b",
        "output.0": {"x": 1},
        "metrics.predict_time": 3.5,
        "new.deep.key": None,
    }
    body = make_event("completed", overrides=wanted, now=NOW, rng=random.Random(1))
    assert body["id"] == "abc"
    assert body["output"] == [{"x": 1}, "b"]
    assert body["metrics"]["predict_time"] == 3.5
    assert body["new"] == {"deep": {"key": None}}
    for wrong in ({"status.x": 1}, {"output.x": 1}, {"urls.get.0": 1}):
        with pytest.raises(ValueError, match="there is no"):
            make_event("completed", overrides={"output": []} | wrong, now=NOW, rng=random.Random(1))
    with pytest.raises(ValueError, match="expected"):
        make_event("finished", now=NOW, rng=random.Random(1))


async def test_single_events(receiver: Receiver) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await send_event(session, receiver.url, SECRET, b"{}", clock=lambda: NOW)
        assert (answer.ok, answer.status) == (True, 200)
        receiver.answers = [401]
        assert not (await send_event(session, receiver.url, SECRET, b"{}", clock=lambda: NOW)).ok
        status, text = await send_signed(
            session, "http://127.0.0.1:9/", SECRET, b"", webhook_id="msg_1", timestamp=int(NOW)
        )
        assert status == 0 and text
    assert [judged(item) for item in receiver.received] == [Verdict.OK] * 2


async def test_full_run(receiver: Receiver) -> None:
    answers = await run("full-run", receiver)
    assert all(answer.ok for answer in answers)
    assert receiver.statuses() == ["starting", "processing", "processing", "processing", "succeeded"]
    assert len({item.json()["id"] for item in receiver.received}) == 1
    logs = [item.json()["logs"] for item in receiver.received]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(logs))


async def test_duplicates(receiver: Receiver) -> None:
    await run("duplicates", receiver)
    assert len(receiver.received) == 8
    assert len({(item.webhook_id, item.body) for item in receiver.received}) == 1


async def test_reordering(receiver: Receiver) -> None:
    await run("reordering", receiver)
    assert receiver.statuses() == ["succeeded", "processing", "processing", "starting"]


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("bad-signature", {Verdict.INVALID: 4, Verdict.MISSING: 1, Verdict.OK: 1}),
        ("stale-timestamp", {Verdict.STALE: 2, Verdict.OK: 1}),
        ("huge-logs", {Verdict.OK: 3}),
        ("flood", {Verdict.OK: 200}),
    ],
)
async def test_what_a_verifier_says(receiver: Receiver, name: str, verdicts: dict[Verdict, int]) -> None:
    answers = await run(name, receiver)
    assert Counter(map(judged, receiver.received)) == verdicts
    expected = Counter(200 if 200 in answer.expected else 401 for answer in answers)
    assert expected[200] == verdicts[Verdict.OK]
    assert [answer.ok for answer in answers].count(False) == expected[401]  # this receiver takes everything
    if name == "huge-logs":
        assert min(len(item.body) for item in receiver.received) > 8 << 20
