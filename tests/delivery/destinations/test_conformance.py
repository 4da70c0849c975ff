"""What every destination does, against its real counterpart."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from daemon.config import Settings
from daemon.delivery.destinations.base import Place
from daemon.delivery.errors import Permanent, Retry
from tests.delivery.destinations.counterparts import Counterpart
from tests.support.outputs import sha256
from tests.support.packages import Reports, package, place, staged

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own call

LARGE = 40 * 1024 * 1024 + 17  # three parts of an S3 upload
FILES = {
    "model.safetensors": random.Random(1).randbytes(LARGE),
    "validation image.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "größe.txt": "höhe\n".encode(),
    "empty.bin": b"",
}


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def here(settings: Settings, reports: Reports) -> Place:
    return place(settings, reports)


async def test_everything_arrives_once(counterpart: Counterpart, here: Place, reports: Reports, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", FILES))
    url = await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here)
    assert "://" in url
    there = counterpart.contents(job)
    assert {name: sha256(content) for name, content in there.items() if name in FILES} == {
        name: sha256(content) for name, content in FILES.items()
    }
    assert len(there) == len(FILES) + 1  # the manifest, or the card
    done = [bytes_done for bytes_done, _ in reports.all]
    total = reports.all[-1][1]
    assert done == sorted(done) and total is not None and sum(map(len, FILES.values())) <= total
    assert done[-1] == total and len(set(done)) > 2

    before = counterpart.stamps(job)
    assert await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here) == url
    assert counterpart.stamps(job) == before  # nothing was written again


async def test_what_was_changed_there_is_put_right(counterpart: Counterpart, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"a.bin": b"one", "b.bin": b"two"}))
    await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here)
    counterpart.spoil(job, "a.bin")
    await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here)
    there = counterpart.contents(job)
    assert (there["a.bin"], there["b.bin"]) == (b"one", b"two") and len(there) == 3


async def test_an_output_without_files_arrives_as_text(counterpart: Counterpart, here: Place) -> None:
    job = package(output={"text": "hello Alice"})
    await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here)
    there = counterpart.contents(job)
    assert b"hello Alice" in there["manifest.json"]


async def test_two_jobs_do_not_meet(counterpart: Counterpart, here: Place, tmp_path: Path) -> None:
    jobs = [
        package(staged(tmp_path / job_id, {"m.bin": job_id.encode()}), job_id=job_id) for job_id in ("job_1", "job_2")
    ]
    for job in jobs:
        await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here)
    assert [counterpart.contents(job)["m.bin"] for job in jobs] == [b"job_1", b"job_2"]


async def test_a_staged_file_that_is_gone(counterpart: Counterpart, here: Place, tmp_path: Path) -> None:
    files = staged(tmp_path / "staging", {"a.bin": b"one"})
    files[0].path.unlink()
    with pytest.raises(Permanent, match="no longer in the staging folder"):
        await asyncio.to_thread(counterpart.destination.publish, package(files), counterpart.options, here)
    assert counterpart.contents(package(files)) == {}


async def test_a_delivery_that_was_given_up_ends_soon(counterpart: Counterpart, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"model.bin": FILES["model.safetensors"]}))
    here.stopping.set()
    with pytest.raises(Retry):
        await asyncio.to_thread(counterpart.destination.publish, job, counterpart.options, here)
    assert "manifest.json" not in counterpart.contents(job) and "README.md" not in counterpart.contents(job)


async def test_a_wrong_place_is_refused_for_good(counterpart: Counterpart, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"a.bin": b"one"}))
    with pytest.raises(Permanent, match=counterpart.says):
        await asyncio.to_thread(counterpart.destination.publish, job, counterpart.wrong, here)
    with pytest.raises(Permanent, match=counterpart.says):
        await asyncio.to_thread(counterpart.destination.check, counterpart.wrong, here)


async def test_checking_leaves_nothing_behind(counterpart: Counterpart, here: Place) -> None:
    before = counterpart.everything()
    assert await asyncio.to_thread(counterpart.destination.check, counterpart.options, here)
    assert counterpart.everything() == before
