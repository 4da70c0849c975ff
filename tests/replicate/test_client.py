"""The client against the sandbox, and against a server that answers whatever a test wants."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daemon.core.prediction import parse_prediction
from daemon.errors import ProviderError, ProviderUnavailable, TokenMissing
from daemon.replicate.client import ReplicateClient
from daemon.replicate.retry import RetryPolicy
from daemon.replicate.transport import Ambiguous, NotSent, Throttled
from tests.replicate.conftest import Clock, Counterpart, World

TOKEN = "r8_" + "a" * 37


@pytest.fixture
def client(counterpart: Counterpart, session: aiohttp.ClientSession, clock: Clock) -> ReplicateClient:
    return make_client(counterpart.url, session, clock)


def make_client(url: str, session: aiohttp.ClientSession, clock: Clock, token: str | None = TOKEN) -> ReplicateClient:
    async def source() -> str | None:
        return token

    return ReplicateClient(
        session, source, url, policy=RetryPolicy(attempts=4), now=clock, sleep=clock.sleep, jitter=lambda: 0.0
    )


# -- against the sandbox ---------------------------------------------------------------------


async def test_account_models_versions_hardware(world: World) -> None:
    world.sandbox.faults.page_size = 1
    assert (await world.client.account())["username"]
    versions = await world.client.versions("acme/hello")
    assert [version["created_at"] for version in versions] == sorted(
        (version["created_at"] for version in versions), reverse=True
    )
    assert len(versions) == 2
    assert versions[0]["full_version"] == f"acme/hello:{versions[0]['id']}"
    assert (await world.client.model("acme/hello"))["latest_version"]["id"] == versions[0]["id"]
    assert "gpu-l40s" in {item["sku"] for item in await world.client.hardware()}


async def test_create_get_list_cancel(world: World) -> None:
    version = (await world.client.versions("acme/hello"))[0]["full_version"]
    created = parse_prediction(await world.client.create_prediction({"version": version, "input": {"text": "x"}}))
    assert created is not None
    by_name = parse_prediction(await world.client.create_model_prediction("acme/hello", {"input": {"text": "y"}}))
    assert by_name is not None
    body = await world.client.get(created.id, "prediction")
    assert body is not None
    assert parse_prediction(body).id == created.id  # type: ignore[union-attr]
    assert await world.client.get("nosuchprediction", "prediction") is None
    world.sandbox.faults.page_size = 1
    listed = [item["id"] async for item in world.client.recent("prediction", created_after=world.clock() - 60)]
    assert listed == [by_name.id, created.id]
    assert [item async for item in world.client.recent("prediction", created_after=world.clock() + 60)] == []
    cancelled = parse_prediction(await world.client.cancel(created.id, "prediction"))
    assert cancelled is not None
    assert cancelled.status in {"canceled", "aborted"}


async def test_training_and_secret(world: World) -> None:
    version = (await world.client.versions("acme/trainer"))[0]["id"]
    payload = {"destination": "acme/my-lora", "input": {}}
    created = parse_prediction(await world.client.create_training("acme/trainer", version, payload))
    assert created is not None
    assert [item["id"] async for item in world.client.recent("training", created_after=0)] == [created.id]
    assert await world.client.get(created.id, "prediction") is not None
    assert await world.client.webhook_secret() == world.sandbox.webhook_secret


async def test_upload_is_streamed_and_tried_again(world: World, tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    file.write_bytes(b"PK" + bytes(300_000))
    world.sandbox.faults.server_error_next = 1
    answer = await world.client.upload(file)
    assert answer["size"] == 300_002
    assert [upload.data for upload in world.sandbox.uploads.values()] == [file.read_bytes()]
    assert answer["urls"]["get"].startswith(world.sandbox.url)


# -- retries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["body", "header", "date", "text"])
async def test_429_is_obeyed(world: World, style: Any) -> None:
    world.sandbox.faults.rate_limit_next = 2
    world.sandbox.faults.rate_limit_seconds = 9
    world.sandbox.faults.rate_limit_style = style
    world.clock.steady = True
    assert (await world.client.account())["username"]
    assert len(world.clock.slept) == 2
    assert all(8 <= seconds <= 10.1 for seconds in world.clock.slept)


async def test_429_without_a_word_backs_off(world: World) -> None:
    world.sandbox.faults.rate_limit_next = 1
    world.sandbox.faults.rate_limit_style = "none"
    await world.client.account()
    assert world.clock.slept == [pytest.approx(0.375)]


async def test_429_that_means_later_is_told(counterpart: Counterpart, client: ReplicateClient, clock: Clock) -> None:
    counterpart.say({"status": 429, "data": {"detail": "throttled", "retry_after": 3600}})
    with pytest.raises(Throttled) as caught:
        await client.account()
    assert caught.value.retry_after == 3600
    assert clock.slept == []


async def test_reads_are_tried_again_on_5xx(counterpart: Counterpart, client: ReplicateClient, clock: Clock) -> None:
    counterpart.say({"status": 502, "data": ""}, {"status": 503, "data": ""}, {"data": {"username": "me"}})
    assert await client.account() == {"username": "me"}
    assert clock.slept == [0.25, 0.5]


async def test_reads_give_up_in_the_end(counterpart: Counterpart, client: ReplicateClient) -> None:
    async def broken(_: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text="<title>Oops</title>")

    counterpart.say(broken)
    with pytest.raises(ProviderUnavailable, match="Replicate answered 500: Oops"):
        await client.account()
    assert len(counterpart.seen) == 4


async def test_4xx_is_final(counterpart: Counterpart, client: ReplicateClient) -> None:
    counterpart.say({"status": 402, "data": {"title": "Insufficient credit", "detail": "Buy some", "status": 402}})
    with pytest.raises(ProviderError, match="402: Insufficient credit: Buy some") as caught:
        await client.create_prediction({"version": "v", "input": {}})
    assert caught.value.extra == {"provider_status": 402, "provider_detail": "Insufficient credit: Buy some"}
    assert len(counterpart.seen) == 1


async def test_create_is_tried_again_after_429_only(counterpart: Counterpart, client: ReplicateClient) -> None:
    counterpart.say({"status": 429, "data": {"retry_after": 1}}, {"status": 201, "data": {"id": "a", "status": "x"}})
    assert b'"id"' in await client.create_prediction({"version": "v", "input": {}})
    assert len(counterpart.seen) == 2
    counterpart.say({"status": 500, "data": {}})
    with pytest.raises(Ambiguous):
        await client.create_prediction({"version": "v", "input": {}})
    assert len(counterpart.seen) == 3


async def test_create_whose_connection_is_cut_is_ambiguous(
    counterpart: Counterpart, client: ReplicateClient, clock: Clock
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    counterpart.say(cut)
    with pytest.raises(Ambiguous, match="answer was lost"):
        await client.create_prediction({"version": "v", "input": {}})
    assert len(counterpart.seen) == 1
    assert clock.slept == []


async def test_create_that_cannot_connect_is_tried_again(session: aiohttp.ClientSession, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = make_client(f"http://127.0.0.1:{port}", session, clock)
    with pytest.raises(NotSent, match="could not be reached"):
        await client.create_prediction({"version": "v", "input": {}})
    assert len(clock.slept) == 3


# -- the token --------------------------------------------------------------------------------


async def test_token_goes_out_as_bearer(counterpart: Counterpart, client: ReplicateClient) -> None:
    counterpart.say({"data": {}})
    await client.account()
    assert counterpart.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_netrc_does_not_get_in_the_way(
    counterpart: Counterpart, client: ReplicateClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    counterpart.say({"data": {}})
    await client.account()
    assert counterpart.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"


async def test_redirects_are_not_followed(counterpart: Counterpart, client: ReplicateClient) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")

    counterpart.say(redirect)
    with pytest.raises(ProviderError, match="redirect, which is not followed"):
        await client.account()
    assert len(counterpart.seen) == 1


async def test_next_page_on_another_origin_is_refused(counterpart: Counterpart, client: ReplicateClient) -> None:
    counterpart.say({"data": {"next": "http://127.0.0.1:1/v1/models/a/b/versions?cursor=x", "results": []}})
    with pytest.raises(ProviderError, match="another origin"):
        await client.versions("a/b")
    assert len(counterpart.seen) == 1


async def test_next_page_that_goes_in_a_circle_ends(counterpart: Counterpart, client: ReplicateClient) -> None:
    async def circle(request: web.Request) -> web.StreamResponse:
        return web.json_response({"next": str(request.url), "results": [{"id": "v1"}, "junk", {}]})

    counterpart.say(circle)
    assert [version["id"] for version in await client.versions("a/b")] == ["v1"]


async def test_cursor_is_followed_verbatim(counterpart: Counterpart, client: ReplicateClient) -> None:
    cursor = "cD0yMDIyLTAxLTIxKzIzJTNBMTg%3D&x=a%2Bb"
    base = counterpart.url
    counterpart.say(
        {"data": {"next": f"{base}/v1/predictions?cursor={cursor}", "results": [{"id": "1"}]}},
        {"data": {"next": None, "results": [{"id": "2"}]}},
    )
    assert [item["id"] async for item in client.recent("prediction", created_after=0)] == ["1", "2"]
    assert counterpart.seen[1].raw_path == f"/v1/predictions?cursor={cursor}"


async def test_without_a_token_nothing_is_sent(
    counterpart: Counterpart, session: aiohttp.ClientSession, clock: Clock
) -> None:
    client = make_client(counterpart.url, session, clock, token=None)
    with pytest.raises(TokenMissing, match="REPLICATE_API_TOKEN not set"):
        await client.account()
    assert counterpart.seen == []


# -- odd answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["<html>proxy login</html>", "", "[1,2]", "\ud800".encode("utf-8", "surrogatepass")])
async def test_an_answer_that_is_no_object(counterpart: Counterpart, client: ReplicateClient, text: Any) -> None:
    async def odd(_: web.Request) -> web.StreamResponse:
        return web.Response(body=text)

    counterpart.say(odd)
    with pytest.raises(ProviderUnavailable):
        await client.account()


async def test_an_endless_answer_is_not_read(
    counterpart: Counterpart, client: ReplicateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.replicate.transport.BODY_LIMIT", 2**20)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(2**18))
        except ConnectionResetError:
            return response

    counterpart.say(endless)
    with pytest.raises(ProviderUnavailable, match="larger than"):
        await client.get("x", "prediction", patient=False)
