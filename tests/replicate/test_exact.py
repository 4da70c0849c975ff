"""The secrets of a request that is under way: kept beside its intent, sent after a crash, swept when not needed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from daemon.core.jobs import JobStatus
from daemon.errors import NotReady
from daemon.replicate.request import SubmitRequest
from tests.replicate.conftest import SECRET, Make, World
from tests.replicate.crashes import SECRETIVE, before_the_call, creates, only_job


async def test_secrets_survive_the_crash_and_go_out(make_world: Make) -> None:
    config = {"--max_train_steps": 5, "--publishing_config": [{"secret_key": "deadbeef"}]}
    job = await before_the_call(await make_world(), SubmitRequest(config=config, input={"hf_token": SECRET}))
    assert SECRET not in str(job)
    assert "deadbeef" not in str(job)
    world = await make_world()
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.input["hf_token"] == SECRET
    assert json.loads(prediction.input["config_json"]) == config
    assert await world.store.secrets.get(f"outbox/{job.job_id}") is None


async def test_an_intent_that_cannot_be_decrypted_holds_up_nothing(make_world: Make) -> None:
    """A backup came back without its key: the intent waits, whatever is beside it goes on, and it ends after a day."""
    stuck = await before_the_call(await make_world(), SECRETIVE)
    world = await make_world()
    get = world.store.secrets.get

    async def undecryptable(name: str) -> str | None:
        if name.startswith("outbox/"):
            raise NotReady("cannot be decrypted")
        return await get(name)

    world.store.secrets.get = undecryptable  # type: ignore[method-assign]
    await world.submitter.submit(SubmitRequest(model="acme/hello", input={"text": "y"}))
    await world.submitter.resume_outbox()
    assert (await world.store.jobs.get(stuck.job_id)).status is JobStatus.PENDING  # type: ignore[union-attr]
    assert {item.input["text"] for item in world.sandbox.predictions.values()} == {"y"}
    world.clock.now += 90_000
    await world.submitter.resume_outbox()
    assert (await world.store.jobs.get(stuck.job_id)).status is JobStatus.FAILED  # type: ignore[union-attr]


async def test_an_intent_whose_secrets_are_lost_is_not_sent_without_them(make_world: Make) -> None:
    job = await before_the_call(await make_world(), SECRETIVE)
    world = await make_world()
    await world.store.secrets.delete(f"outbox/{job.job_id}")
    await world.submitter.resume_outbox()
    ended = await only_job(world)
    assert (ended.status, ended.error) == (
        JobStatus.FAILED,
        "The secrets that its request holds were not kept. Submit it again.",
    )
    assert creates(world) == 0


async def test_a_submit_that_is_cut_off_in_its_commit_keeps_its_secrets(world: World) -> None:
    """The store goes on with a transaction whose caller is gone."""
    insert, begun, go_on = world.store.jobs.insert_intent, asyncio.Event(), asyncio.Event()
    late: list[asyncio.Task[Any]] = []

    async def slow(*arguments: Any) -> Any:
        async def commit() -> Any:
            await go_on.wait()
            return await insert(*arguments)

        late.append(asyncio.create_task(commit()))
        begun.set()
        return await asyncio.shield(late[0])

    world.store.jobs.insert_intent = slow  # type: ignore[method-assign]
    submit = asyncio.create_task(world.submitter.submit(SECRETIVE))
    await begun.wait()
    submit.cancel()
    await asyncio.wait([submit])
    go_on.set()
    await late[0]
    job = await only_job(world)
    await world.store.claims.release(job.job_id, world.submitter._outbox.owner)
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert prediction.input["hf_token"] == SECRET


async def test_exact_requests_that_no_intent_needs_are_swept(make_world: Make) -> None:
    world = await make_world()
    await world.store.secrets.put("outbox/job_gone", "x", now=world.clock() - 100_000)
    await world.store.secrets.put("outbox/job_now", "x", now=world.clock())
    await world.store.secrets.put("replicate_token_of_old", "x", now=1.0)
    await world.submitter.resume_outbox()
    kept = await world.store.secrets.names("", before=world.clock() + 1)
    assert sorted(kept) == ["outbox/job_now", "replicate_token_of_old"]
