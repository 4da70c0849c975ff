"""``tunerd submit`` where its answer does not come."""

from __future__ import annotations

import json
import signal

import pytest
from aiohttp import web

from tests.cli.conftest import Program, StandIn

SUBMIT = "/api/cloud/jobs/submit"
ORDER = ("submit", "acme/shapes", "steps=20")


async def broken(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def bad_gateway(request: web.Request) -> web.Response:
    return web.Response(status=502, body="<h1>Bad Gateway</h1>", content_type="text/html")


@pytest.mark.parametrize("answer", [broken, bad_gateway])
async def test_a_lost_answer_names_the_key_for_another_try(tunerd, stand_in: StandIn, answer) -> None:
    stand_in.routes["POST", SUBMIT] = answer
    lost = await tunerd(*ORDER, TUNERD_URL=stand_in.url)
    [(_, _, headers, body)] = stand_in.seen
    key = headers["Idempotency-Key"]
    assert lost.code == 3 and f"--idempotency-key {key}" in lost.err
    other = await tunerd(*ORDER, TUNERD_URL=stand_in.url)
    assert other.code == 3 and key not in other.err  # each order has its own

    stand_in.answer("POST", SUBMIT, {"job_id": "job_1", "status": "queued", "idempotent_hit": True})
    again = await tunerd(*ORDER, "--idempotency-key", key, TUNERD_URL=stand_in.url)
    assert again.code == 0 and "job_1" in again.out
    assert (stand_in.seen[-1][2]["Idempotency-Key"], stand_in.seen[-1][3]) == (key, body)


async def test_a_saved_configuration_goes_by_its_name(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("POST", SUBMIT, {"job_id": "job_1", "status": "queued"})
    assert (await tunerd("submit", "--name", "flux cats", TUNERD_URL=stand_in.url)).code == 0
    assert json.loads(stand_in.seen[0][3]) == {"config_name": "flux cats"}


async def test_what_never_went_out_needs_no_key(tunerd) -> None:
    refused = await tunerd(*ORDER, TUNERD_URL="http://127.0.0.1:9")
    assert refused.code == 3 and "idempotency" not in refused.err


async def test_an_interrupt_while_it_waits_names_the_key(start: Program, stand_in: StandIn) -> None:
    async def interrupt(request: web.Request) -> web.Response:
        started.process.send_signal(signal.SIGINT)
        await started.process.wait()
        return web.Response()

    stand_in.routes["POST", SUBMIT] = interrupt
    started = await start(*ORDER, TUNERD_URL=stand_in.url)
    result = await started.result()
    assert result.code == 130 and stand_in.seen[0][2]["Idempotency-Key"] in result.err
