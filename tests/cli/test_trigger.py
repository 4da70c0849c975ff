"""``trigger`` against a receiver that judges as the contract says."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from aiohttp import web

from daemon.core.signature import Verdict, verify
from daemon.parsing import decode_webhook_secret
from tests.cli.conftest import StandIn, problem

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REFUSED = {
    Verdict.MISSING: "signature_missing",
    Verdict.INVALID: "signature_invalid",
    Verdict.STALE: "timestamp_out_of_tolerance",
}


@pytest.fixture
def receiver(stand_in: StandIn) -> StandIn:
    """Answers as the daemon does; ``stand_in.seen`` holds the bodies."""
    known: set[str] = set()

    async def receive(request: web.Request) -> web.Response:
        body, given = (
            await request.read(),
            [request.headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature")],
        )
        verdict = verify([decode_webhook_secret(SECRET)], *given, body, now=time.time())
        if verdict is not Verdict.OK:
            return web.json_response(problem(401, REFUSED[verdict]), status=401)
        word = "duplicate" if given[0] in known else "accepted"
        known.add(str(given[0]))
        return web.json_response({"status": word, "event": "logs", "job_id": "job_1"})

    stand_in.routes["POST", "/api/webhooks/replicate"] = receive
    return stand_in


def bodies(receiver: StandIn) -> list[dict]:
    return [json.loads(body) for _, _, _, body in receiver.seen]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("start", "starting"),
        ("logs", "processing"),
        ("output", "processing"),
        ("completed", "succeeded"),
        ("failed", "failed"),
        ("cancelled", "canceled"),
    ],
)
async def test_one_event(tunerd, receiver: StandIn, event: str, status: str) -> None:
    result = await tunerd("trigger", event, "--url", receiver.url, "--secret", SECRET)
    assert result.code == 0, result.err
    assert result.out.startswith("event: HTTP 200 accepted logs job_1")
    assert [body["status"] for body in bodies(receiver)] == [status]


async def test_a_body_from_standard_input(tunerd, receiver: StandIn) -> None:
    given = b'{"id": "piped",  "status":"starting"}\n'  # its blanks and its line end are signed, too
    result = await tunerd("trigger", "--url", receiver.url, "--secret", SECRET, "--body", "-", given=given)
    assert result.code == 0, result.err
    assert [body for _, _, _, body in receiver.seen] == [given]


async def test_values_id_and_count(tunerd, receiver: StandIn) -> None:
    result = await tunerd(
        *("trigger", "failed", "--url", receiver.url + "/", "--id", "abc", "--count", "3", "--json"),
        *("--set", "error=no memory", "--set", "metrics.predict_time=3.5"),
        TUNERD_WEBHOOK_SECRET=SECRET,
    )
    assert result.code == 0, result.err
    assert [(body["id"], body["error"], body["metrics"]["predict_time"]) for body in bodies(receiver)] == [
        ("abc", "no memory", 3.5)
    ] * 3
    assert len({line["webhook_id"] for line in result.lines()}) == 3
    assert all(line["ok"] and line["answer"]["status"] == "accepted" for line in result.lines())


async def test_a_body_goes_out_byte_for_byte(tunerd, receiver: StandIn, tmp_path) -> None:
    content = '{"id": "x",  "status":"processing", "logs":"caf\u00e9 \\u003c"}\n'.encode()
    (tmp_path / "body").write_bytes(content)
    arguments = ("trigger", "--body", str(tmp_path / "body"), "--url", receiver.url, "--secret", SECRET)
    assert (await tunerd(*arguments)).code == 0
    assert receiver.seen[0][3] == content
    assert (await tunerd(*arguments, "--set", "status=failed")).code == 0
    assert bodies(receiver)[1]["status"] == "failed"


async def test_a_refusal_is_told(tunerd, receiver: StandIn) -> None:
    other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    result = await tunerd("trigger", "completed", "--url", receiver.url, "--secret", other)
    assert (result.code, result.out) == (1, "")
    assert "401" in result.err and "Do this next." in result.err and "[signature_invalid]" in result.err


async def test_nobody_there(tunerd) -> None:
    result = await tunerd("trigger", "completed", "--url", "http://127.0.0.1:9", "--secret", SECRET)
    assert result.code == 3 and "http://127.0.0.1:9" in result.err
    assert "the connection was refused" in result.err and "Errno" not in result.err and "ssl:" not in result.err


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("full-run", {"accepted": 5}),
        ("duplicates", {"accepted": 1, "duplicate": 7}),
        ("reordering", {"accepted": 4}),
        ("bad-signature", {"accepted": 1, "signature_invalid": 4, "signature_missing": 1}),
        ("stale-timestamp", {"accepted": 1, "timestamp_out_of_tolerance": 2}),
        ("flood", {"accepted": 200}),
    ],
)
async def test_scenarios_end_well_where_the_receiver_is_right(
    tunerd, receiver: StandIn, scenario: str, words: dict
) -> None:
    result = await tunerd(
        "trigger", "completed", "--scenario", scenario, "--url", receiver.url, "--secret", SECRET, "--json"
    )
    assert result.code == 0, result.out
    found = [line["answer"].get("code") or line["answer"]["status"] for line in result.lines()]
    assert Counter(found) == words
    if scenario != "full-run":
        assert "succeeded" in {body["status"] for body in bodies(receiver)[:1]}


async def test_a_receiver_that_takes_everything_fails_the_scenario(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("POST", "/api/webhooks/replicate", {"status": "accepted"})
    result = await tunerd("trigger", "--scenario", "bad_signature", "--url", stand_in.url, "--secret", SECRET)
    assert result.code == 1 and "had to be refused" in result.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nonsense",), "cancelled"),
        (("logs", "--scenario", "nonsense"), "full-run"),
        (("--scenario", "flood", "--body", "-"), "--body"),
        ((), "EVENT"),
        (("logs", "--set", "status.x.y=1"), "status.x.y"),
        (("logs", "--url", "localhost:8080"), "localhost:8080"),
    ],
)
async def test_usage(tunerd, receiver: StandIn, arguments: tuple[str, ...], named: str) -> None:
    result = await tunerd("trigger", *arguments, TUNERD_URL=receiver.url, TUNERD_WEBHOOK_SECRET=SECRET)
    assert (result.code, result.out) == (2, "") and named in result.err
    assert receiver.seen == []
