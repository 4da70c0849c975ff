"""How long a lost job is looked for: from the first look on, whatever the clocks, the list's lag and throttling did."""

from __future__ import annotations

import pytest

from tests.replicate.conftest import Make
from tests.replicate.crashes import CREATE, after_the_call, creates, late_in_the_list, only_job


async def test_what_was_just_sent_is_waited_for_however_old_the_intent_is(make_world: Make) -> None:
    """A dataset took minutes to upload: it is the create call that the list lags behind."""
    world = await make_world()
    world.clock.now -= 300
    world.clock.steady = True
    job = await after_the_call(world)
    await world.store.claims.sending(job.job_id, "x", now=world.clock() + 300, until=0.0, before=1)
    world = await make_world()
    world.clock.now += 301
    world.clock.steady = False
    prediction = late_in_the_list(world, 12, world.clock.sleep)
    await world.submitter.resume_outbox()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1


@pytest.mark.parametrize("webhook", ["https://a.example", ""])
@pytest.mark.parametrize("corrected", [False, True])
async def test_a_clock_that_was_ahead_makes_no_second_job(make_world: Make, webhook: str, corrected: bool) -> None:
    """The intent lies in Replicate's future; at the restart there is time for one look only."""
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.clock.now += 3600
    await after_the_call(world)
    world = await make_world(TUNERD_WEBHOOK_URL=webhook)
    world.clock.now += -3595 if corrected else 30
    await world.submitter.resume_outbox()
    (prediction,) = world.sandbox.predictions.values()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1


async def test_a_call_that_went_out_after_long_throttling_is_waited_for_as_any(make_world: Make) -> None:
    """It is the time of the call that counts, not that of its first try, which was turned away."""
    world = await make_world()
    world.sandbox.faults.api_match = CREATE
    world.sandbox.faults.rate_limit_next = 1
    world.sandbox.faults.rate_limit_seconds = 50
    await after_the_call(world)
    world = await make_world()
    prediction = late_in_the_list(world)
    await world.submitter.resume_outbox()
    job = await only_job(world)
    assert (job.provider_job_id, job.sends) == (prediction.id, 1)
    assert len(world.sandbox.predictions) == 1


async def test_a_clock_that_was_set_forward_does_not_make_a_call_look_long_ago(make_world: Make) -> None:
    """Killed right after the call; at the restart the clock was put right by hours, and the list lags behind."""
    await after_the_call(await make_world())
    world = await make_world()
    world.clock.now += 3 * 3600
    prediction = late_in_the_list(world, 12)
    await world.submitter.resume_outbox()
    assert (await only_job(world)).provider_job_id == prediction.id
    assert creates(world) == 1
