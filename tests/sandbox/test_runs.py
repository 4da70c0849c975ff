"""What simulated predictions do between create and end."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any

import aiohttp
import pytest

from daemon.core.training_log import read_progress, read_series
from daemon.sandbox import Sandbox, content_sha256
from tests.sandbox.conftest import Api
from tests.support.receiver import Receiver
from tests.support.waiting import until

FILE = "file:lora.safetensors:1000"


async def test_a_training_prints_bars_that_our_reader_understands(api: Api, sandbox: Sandbox) -> None:
    version = (await api.call("GET", "/v1/models/simpletuner/advanced-trainer/versions"))["results"][0]["id"]
    done = await api.run(version, max_train_steps=40)
    assert done["status"] == "succeeded"
    progress = read_progress(done["logs"])
    assert progress is not None and (progress.step, progress.total_steps) == (40, 40)
    series = read_series(done["logs"])
    assert len(series["loss"]) == len(series["lr"]) == 40
    assert series["loss"][0][1] > series["loss"][-1][1]
    assert done["output"].endswith("/pytorch_lora_weights.safetensors")


async def test_steps_do_not_change_how_long_it_takes(api: Api, sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    done = await api.run(steps=5000, run_seconds=8)
    assert 0.3 < loop.time() - begun < 30
    assert "5000/5000" in done["logs"]


async def test_the_seed_repeats_everything() -> None:
    seen = []
    for _ in range(2):
        async with Sandbox(seed=7) as sandbox:
            seen.append((sandbox.api_token, sandbox.webhook_secret, sandbox.rotate_secret()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ({"shape": "url"}, str),
        ({"shape": "list", "files": 3}, list),
        ({"shape": "dict", "files": 2}, dict),
        ({"shape": "dicts", "files": 2}, list),
        ({"shape": "nested", "files": 3}, dict),
        ({"shape": "text"}, str),
        ({"shape": "number"}, int),
        ({"shape": "null"}, type(None)),
        ({"shape": "data"}, str),
        ({"shape": "training"}, dict),
        ({"shape": "version"}, dict),
        ({"output": {"a": [FILE, None, 3, "text"]}}, dict),
        ({"output": None}, type(None)),
        ({"output": False}, bool),
    ],
    ids=str,
)
async def test_outputs_of_every_shape(api: Api, sandbox: Sandbox, behaviour: dict[str, Any], kind: type) -> None:
    done = await api.run(**behaviour)
    assert (done["status"], type(done["output"])) == ("succeeded", kind)
    for url in _urls(done["output"]):
        async with api.session.get(url) as answer:
            assert answer.status == 200
            assert len(await answer.read()) == answer.content_length


def _urls(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [url for each in value.values() for url in _urls(each)]
    if isinstance(value, list):
        return [url for each in value for url in _urls(each)]
    return [value] if isinstance(value, str) and "/delivery/" in value else []


async def test_a_file_is_what_its_name_and_size_say(api: Api) -> None:
    done = await api.run(output=FILE)
    async with api.session.get(done["output"]) as answer:
        import hashlib

        assert hashlib.sha256(await answer.read()).hexdigest() == content_sha256("lora.safetensors", 1000)


async def test_names_may_be_hostile(api: Api) -> None:
    done = await api.run(output="file:../../etc/pass\twd:10")
    assert done["output"].endswith("/..%2F..%2Fetc%2Fpass%09wd")
    async with api.session.get(done["output"]) as answer:
        assert len(await answer.read()) == 10


@pytest.mark.parametrize("fail", ["oom", "packaging", "something of its own"])
async def test_failures(api: Api, fail: str) -> None:
    done = await api.run(fail=fail, output=FILE, steps=10)
    assert (done["status"], done["output"]) == ("failed", None)
    assert done["error"]
    assert ("Traceback" in done["logs"]) == (fail != "packaging")
    assert ("10/10" in done["logs"]) == (fail == "packaging")


async def test_abort_and_cancel(api: Api, sandbox: Sandbox) -> None:
    done = await api.run(abort=True)
    assert (done["status"], done["started_at"], done["logs"]) == ("aborted", None, "")
    created = await api.predict(run_seconds=1000, setup_seconds=0, queue_seconds=0)
    await until(lambda: sandbox.predictions[created["id"]].status == "processing")
    canceled = await api.call("POST", f"/v1/predictions/{created['id']}/cancel")
    assert (canceled["status"], canceled["output"]) == ("canceled", None)
    logs = (await api.get(created["id"]))["logs"]
    await asyncio.sleep(0.1)
    assert (await api.get(created["id"]))["logs"] == logs


async def test_stuck_in_the_queue(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    created = await api.predict(stuck=True, webhook=receiver.url)
    await asyncio.sleep(0.2)
    assert (await api.get(created["id"]))["status"] == "starting"
    assert receiver.received == []


async def test_faults_choose_for_models_that_do_not(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.behaviour = {"fail": "oom", "run_seconds": 1}
    assert (await api.run("acme/hello", text="x"))["status"] == "failed"
    assert (await api.run("acme/hello", text="x", sandbox={"fail": None}))["status"] == "succeeded"


async def test_it_takes_what_was_uploaded(api: Api, sandbox: Sandbox) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", "caption")
    given = []
    for data in (packed.getvalue(), b"no archive"):
        form = aiohttp.FormData()
        form.add_field("content", data, filename="images.zip")
        given.append((await api.call("POST", "/v1/files", data=form, status=201))["urls"]["get"])
    good = await api.run("acme/trainer", input_images=given[0], run_seconds=1)
    assert (good["status"], "images.zip, " in good["logs"], "3 files" in good["logs"]) == ("succeeded", True, True)
    bad = await api.run("acme/trainer", input_images=given[1], run_seconds=1)
    assert (bad["status"], bad["error"]) == ("failed", "images.zip is neither a zip nor a tar archive")
    gone = await api.run("acme/trainer", input_images=given[0] + "x", run_seconds=1)
    assert "404" in gone["error"]
    elsewhere = await api.run("acme/trainer", input_images="https://example.com/i.zip", run_seconds=1)
    assert elsewhere["status"] == "succeeded"


async def test_after_an_hour_everything_is_gone(api: Api, sandbox: Sandbox) -> None:
    done = await api.run(output=FILE)
    sandbox.faults.output_ttl = 0
    shown = await api.get(done["id"])
    assert (shown["data_removed"], shown["output"], shown["logs"], shown["input"]) == (True, None, "", {})
    assert shown["status"] == "succeeded"
    async with api.session.get(done["output"]) as answer:
        assert answer.status == 404
        assert answer.content_type == "application/xml"


async def test_get_does_not_know_it_yet_or_any_more(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.read_lag = 1e9
    created = await api.predict(stuck=True)
    await api.get(created["id"], status=404)
    sandbox.faults.read_lag = 0
    await api.get(created["id"])
    sandbox.faults.queue_404_after = 0
    await api.get(created["id"], status=404)
    await api.call("GET", f"/v1/trainings/{created['id']}", status=404)
    running = await api.predict(run_seconds=100, queue_seconds=0, setup_seconds=0)
    await until(lambda: sandbox.predictions[running["id"]].status == "processing")
    await api.get(running["id"])
