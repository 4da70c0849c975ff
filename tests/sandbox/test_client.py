"""Replicate's own Python client, pointed at the sandbox, as an independent judge of it."""

from __future__ import annotations

import asyncio
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the client's own
    import replicate
    from replicate.exceptions import ModelError, ReplicateError
    from replicate.webhook import InvalidSignatureError, Webhooks

from daemon.sandbox import Sandbox
from tests.sandbox.conftest import ALL_EVENTS
from tests.support.receiver import Receiver


@contextmanager
def connected(sandbox: Sandbox, token: str) -> Iterator[replicate.Client]:
    client = replicate.Client(api_token=token, base_url=sandbox.url)
    yield client
    client._client.close()  # it has no close of its own


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[replicate.Client]:
    with connected(sandbox, sandbox.api_token) as running:
        yield running


async def test_predictions(client: replicate.Client, sandbox: Sandbox, receiver: Receiver) -> None:
    def work() -> tuple[Any, ...]:
        version = client.models.get("simpletuner/advanced-trainer").latest_version
        prediction = client.predictions.create(
            version=version,
            input={"max_train_steps": 20},
            webhook=receiver.url,
            webhook_events_filter=ALL_EVENTS,
        )
        created = prediction.status
        prediction.reload()
        client.poll_interval = 0.05
        prediction.wait()
        listed = client.predictions.list()
        return prediction, created, client.predictions.get(prediction.id), list(listed)

    prediction, created, again, listed = await asyncio.to_thread(work)
    assert (created, prediction.status, prediction.output) == ("starting", "succeeded", again.output)
    assert prediction.output.startswith(sandbox.url)
    assert [each.id for each in listed] == [prediction.id]
    await receiver.wait_for_end()
    secret = await asyncio.to_thread(client.webhooks.default.secret)
    assert secret.key == sandbox.webhook_secret
    for item in receiver.received:
        Webhooks.validate(headers=item.headers, body=item.body.decode(), secret=secret, tolerance=60)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(headers=item.headers, body=item.body.decode() + " ", secret=secret)


async def test_cancel(client: replicate.Client) -> None:
    def work() -> tuple[str, str]:
        prediction = client.predictions.create(model="acme/shapes", input={"run_seconds": 500})
        prediction.cancel()
        other = client.predictions.create(model="acme/shapes", input={"run_seconds": 500})
        return client.predictions.get(prediction.id).status, client.predictions.cancel(other.id).status

    assert await asyncio.to_thread(work) == ("canceled", "canceled")


async def test_run_waits_for_the_output(client: replicate.Client) -> None:
    def work() -> tuple[Any, bytes, str]:
        text = client.run("acme/hello", input={"text": "Alice"})
        images = client.run("acme/image", input={"prompt": "a corgi"})
        # It makes file objects of https URLs only; ours stay text.
        return text, client._client.get(images[0]).content, images[1]

    text, image, url = await asyncio.to_thread(work)
    assert (text, len(image), url.endswith("/out-1.png")) == ("hello Alice", 50_000, True)


async def test_a_failure_is_the_models(client: replicate.Client) -> None:
    def work() -> Any:
        return client.run("acme/shapes", input={"fail": "oom", "run_seconds": 0.1})

    with pytest.raises(ModelError, match="out of memory"):
        await asyncio.to_thread(work)


async def test_trainings(client: replicate.Client, sandbox: Sandbox) -> None:
    def work() -> tuple[Any, ...]:
        version = client.models.get("acme/trainer").versions.list().results[0]
        training = client.trainings.create(
            model="acme/trainer", version=version.id, input={"run_seconds": 500}, destination="acme/my-lora"
        )
        listed = list(client.trainings.list())
        got = client.trainings.get(training.id)
        training.reload()
        canceled = client.trainings.cancel(training.id)
        return training.status, [each.id for each in listed], got.id, canceled.status

    created, listed, got, canceled = await asyncio.to_thread(work)
    assert (created, listed, canceled) == ("starting", [got], "canceled")


async def test_pages(client: replicate.Client, sandbox: Sandbox) -> None:
    sandbox.faults.page_size = 2

    def work() -> list[int]:
        for number in range(5):
            client.predictions.create(model="acme/hello", input={"text": str(number)})
        return [len(page.results) for page in replicate.pagination.paginate(client.predictions.list)]

    assert await asyncio.to_thread(work) == [2, 2, 1]


async def test_files_models_account(client: replicate.Client, sandbox: Sandbox) -> None:
    def work() -> tuple[Any, ...]:
        made = client.files.create(io.BytesIO(b"data"), filename="images.zip", metadata={"job": "1"})
        got, listed = client.files.get(made.id), client.files.list()
        deleted = client.files.delete(made.id)
        model = client.models.get("acme/hello")
        version = model.versions.get(model.latest_version.id)
        mine = client.models.create("acme", "mine", visibility="private", hardware="gpu-l40s")
        hardware, account = client.hardware.list(), client.accounts.current()
        return made, got, listed, deleted, version, mine, hardware, account, list(client.models.list())

    made, got, listed, deleted, version, mine, hardware, account, models = await asyncio.to_thread(work)
    assert (made, made, True, {"job": "1"}) == (got, listed[0], deleted, made.metadata)
    assert "Input" in version.openapi_schema["components"]["schemas"]
    assert (mine.name, account.username, hardware[0].sku) == ("mine", "acme", "cpu")
    assert "mine" in {model.name for model in models}


async def test_errors_and_its_own_retries(client: replicate.Client, sandbox: Sandbox) -> None:
    def create() -> Any:
        return client.predictions.create(model="acme/image", input={})

    with pytest.raises(ReplicateError) as refused:
        await asyncio.to_thread(create)
    assert (refused.value.status, refused.value.title) == (422, "Input validation failed")
    sandbox.faults.update({"rate_limit_next": 2, "rate_limit_style": "header", "rate_limit_seconds": 0})
    assert (await asyncio.to_thread(client.accounts.current)).username == "acme"
    with connected(sandbox, "r8_wrong") as stranger, pytest.raises(ReplicateError, match="valid authentication token"):
        await asyncio.to_thread(stranger.accounts.current)
