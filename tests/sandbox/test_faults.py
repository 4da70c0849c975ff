"""The API when it misbehaves, and the addresses that make it do so."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
import pytest

from daemon.sandbox import Faults, Sandbox
from tests.sandbox.conftest import Api
from tests.support.waiting import until

HELLO = {"version": "acme/hello", "input": {"text": "x"}}


async def answer_to(api: Api, method: str = "GET", path: str = "/v1/account", **kwargs: Any) -> tuple[int, Any, Any]:
    async with api.session.request(method, api.sandbox.url + path, **kwargs) as answer:
        text = await answer.text()
        return answer.status, answer.headers, msgspec.json.decode(text) if text.startswith("{") else text


@pytest.mark.parametrize("style", ["body", "header", "date", "text", "none"])
async def test_429_says_when_in_different_ways(api: Api, sandbox: Sandbox, style: str) -> None:
    sandbox.faults.update({"rate_limit_next": 1, "rate_limit_style": style, "rate_limit_seconds": 7})
    status, headers, body = await answer_to(api)
    assert status == 429
    assert body.get("retry_after") == (7 if style == "body" else None)
    assert ("~7s" in body["detail"]) == (style in {"body", "text"})
    assert ("Retry-After" in headers) == (style in {"header", "date"})
    if style == "header":
        assert headers["Retry-After"] == "7"
    if style == "date":
        parsedate_to_datetime(headers["Retry-After"])
    assert (await answer_to(api))[0] == 200


async def test_no_credit(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.insufficient_credit_next = 1
    assert (await answer_to(api))[0] == 200  # creates only
    refused = await api.call("POST", "/v1/predictions", json=HELLO, status=402)
    assert refused["title"] == "Insufficient credit"
    await api.call("POST", "/v1/predictions", json=HELLO, status=201)


async def test_5xx_in_a_burst(api: Api, sandbox: Sandbox) -> None:
    for form, expected in (("html", "<html>"), ("empty", ""), ("json", "{")):
        sandbox.faults.update({"server_error_next": 2, "server_error_body": form, "server_error_status": 503})
        for _ in range(2):
            status, _, body = await answer_to(api)
            assert status == 503
            assert isinstance(body, dict) if expected == "{" else body.startswith(expected)
        assert (await answer_to(api))[0] == 200


async def test_only_what_matches(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.update({"server_error_next": -1, "api_match": "^POST /v1/predictions$"})
    assert (await answer_to(api))[0] == 200
    for _ in range(3):
        assert (await answer_to(api, "POST", "/v1/predictions", json=HELLO))[0] == 502
    assert sandbox.predictions == {}


async def test_the_secret_is_not_to_be_had(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.secret_error_next = 1
    assert (await answer_to(api, path="/v1/webhooks/default/secret"))[0] == 500
    assert (await answer_to(api, path="/v1/webhooks/default/secret"))[0] == 200


async def test_connections_break(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.reset_next = 1
    with pytest.raises(aiohttp.ClientError):
        await answer_to(api, "POST", "/v1/predictions", json=HELLO)
    assert sandbox.predictions == {}
    sandbox.faults.update({"hang_next": 1, "hang_seconds": 0.2})
    with pytest.raises(aiohttp.ClientError):
        await answer_to(api, "POST", "/v1/predictions", json=HELLO)
    sandbox.faults.update({"hang_next": 1, "hang_seconds": 60})
    with pytest.raises(TimeoutError):
        await answer_to(api, timeout=aiohttp.ClientTimeout(total=0.2))
    sandbox.faults.latency = 0.1
    begun = asyncio.get_running_loop().time()
    assert (await answer_to(api))[0] == 200
    assert asyncio.get_running_loop().time() - begun > 0.09


async def test_the_answer_is_lost_but_the_prediction_runs(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.lose_create_answer_next = 1
    with pytest.raises(aiohttp.ClientError):
        await answer_to(api, "POST", "/v1/predictions", json=HELLO)
    (record,) = sandbox.predictions.values()
    assert sandbox.requests[-1].status is None
    assert [each["id"] for each in (await api.call("GET", "/v1/predictions"))["results"]] == [record.id]
    await record.done.wait()
    assert record.status == "succeeded"


async def test_requests_are_kept(api: Api, sandbox: Sandbox) -> None:
    await api.call("POST", "/v1/predictions", json=HELLO, status=201)
    await api.call("GET", "/v1/predictions?source=web")
    post, get = sandbox.requests
    assert (post.method, post.path, post.json(), post.status) == ("POST", "/v1/predictions", HELLO, 201)
    assert (get.method, get.path, get.query, get.body, get.status) == (
        "GET",
        "/v1/predictions",
        {"source": "web"},
        b"",
        200,
    )


async def test_steered_over_http(api: Api, sandbox: Sandbox) -> None:
    shown = await api.call("POST", "/_sandbox/faults", json={"webhook_drop": ["logs"], "output_ttl": 5})
    assert (shown["webhook_drop"], sandbox.faults.output_ttl) == (["logs"], 5)
    assert await api.call("GET", "/_sandbox/faults") == shown
    for wrong in ({"webhook_drop": ["failed"]}, {"no_such_knob": 1}, {"output_ttl": 3, "latency": "x"}, []):
        assert "error" in await api.call("POST", "/_sandbox/faults", json=wrong, status=400)
    assert sandbox.faults.output_ttl == 5
    await api.call("PUT", "/_sandbox/faults", json={"latency": 0})
    assert (await api.call("DELETE", "/_sandbox/faults")) == msgspec.to_builtins(Faults())
    created = await api.predict("acme/hello", text="x")
    state = await api.call("GET", "/_sandbox/state")
    assert [each["id"] for each in state["predictions"]] == [created["id"]]
    assert state["webhook_secret"] == sandbox.webhook_secret


async def test_a_run_that_breaks_is_told(sandbox: Sandbox, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    created = await api.predict(output="file:x:10")
    sandbox.platform.outputs.add = None  # type: ignore[method-assign, assignment]
    await until(lambda: f"run of {created['id']} broke" in caplog.text)
