"""``kill -9`` at any moment: the next start goes on, and what is under a final name is always whole."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

from daemon.store.store import Store
from tests.support.outputs import OutputServer, complete, etag, manifest, names, settings_for, sha256, slow
from tests.support.waiting import until

CONTENT = {f"/part-{number}.bin": bytes([number]) * 400_000 + b"end" for number in range(3)}


async def start(folder: Path, server: OutputServer, *flags: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.support.deliver", str(folder), server.url, *flags]
    return await asyncio.create_subprocess_exec(*command)


def nothing_partial(folder: Path) -> None:
    for path in folder.glob("[!.]*"):
        if path.name != "manifest.json":
            assert path.read_bytes() == CONTENT[f"/{path.name}"]
    if (folder / "manifest.json").exists():
        assert {entry["name"] for entry in manifest(folder)["files"]} == {name[1:] for name in CONTENT}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_and_started_again_until_delivered(tmp_path: Path, server: OutputServer, seed: int) -> None:
    random_ = random.Random(seed)
    settings = settings_for(tmp_path, server.url)
    server.files |= CONTENT
    for path, content in CONTENT.items():
        server.script[path] = [slow(content, 20_000, 0.1)] * 2  # 2 s each at first
    async with Store.open(None, settings.data_dir) as store:
        job_id = await complete(store, "abc", [f"{server.url}{path}" for path in CONTENT])
    folder = settings.output_dir / job_id

    kills = 0
    while kills < 6:
        process = await start(tmp_path, server)
        try:
            await asyncio.wait_for(process.wait(), 1.0 + random_.random() * 3.5)
        except TimeoutError:
            process.kill()
            kills += 1
            await process.wait()
            nothing_partial(folder)
        else:
            break
    process = await start(tmp_path, server)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    process = await start(tmp_path, server)  # nothing is due; what an early end left behind is tidied up
    assert await asyncio.wait_for(process.wait(), 60) == 0

    nothing_partial(folder)
    assert names(folder) == ["manifest.json", *sorted(name[1:] for name in CONTENT)]
    assert [entry["sha256"] for entry in manifest(folder)["files"]] == [sha256(data) for data in CONTENT.values()]
    assert names(settings.output_dir) == [job_id]
    async with Store.open(None, settings.data_dir) as store:
        [delivery] = await store.deliveries.of_job(job_id)
        assert (delivery.status, delivery.error) == ("delivered", None)
        assert len(await store.deliveries.artifacts(job_id)) == len(CONTENT)


async def test_killed_in_the_middle_of_a_slow_download_resumes_there(tmp_path: Path, server: OutputServer) -> None:
    settings = settings_for(tmp_path, server.url)
    content = random.Random(0).randbytes(3_000_000)
    server.files["/model.bin"] = content
    server.script["/model.bin"] = [slow(content, 60_000, 0.2)]  # 10 s
    async with Store.open(None, settings.data_dir) as store:
        job_id = await complete(store, "abc", f"{server.url}/model.bin")
    process = await start(tmp_path, server)
    state = settings.output_dir / ".tunerd-staging" / job_id / "0" / ".model.bin.state"
    await until(lambda: asyncio.to_thread(state.exists))  # the first sync, after two seconds
    process.kill()
    await process.wait()
    assert not (settings.output_dir / job_id).exists()
    process = await start(tmp_path, server)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert (settings.output_dir / job_id / "model.bin").read_bytes() == content
    first, second = server.seen("/model.bin")
    assert "Range" not in first
    assert second["If-Range"] == etag(content)
    assert int(second["Range"].removeprefix("bytes=").removesuffix("-")) > 100_000


@pytest.mark.slow
async def test_killed_while_several_connections_bring_pieces(tmp_path: Path, server: OutputServer) -> None:
    """The next start asks for exactly what the state file does not name, holes and all."""
    settings = settings_for(tmp_path, server.url)
    content = random.Random(1).randbytes(128 * 1024 * 1024)
    server.files["/model.bin"] = content
    async with Store.open(None, settings.data_dir) as store:
        job_id = await complete(store, "abc", f"{server.url}/model.bin")
    process = await start(tmp_path, server, "download_mib_per_second=16")  # 8 s
    file = settings.output_dir / ".tunerd-staging" / job_id / "0" / ".model.bin.state"

    async def several_spans() -> bool:
        return await asyncio.to_thread(lambda: file.exists() and len(spans(file)) > 1)

    await until(several_spans)
    process.kill()
    await process.wait()
    there = spans(file)
    server.requests.clear()
    process = await start(tmp_path, server)
    assert await asyncio.wait_for(process.wait(), 90) == 0
    assert (settings.output_dir / job_id / "model.bin").read_bytes() == content
    asked = [headers["Range"].removeprefix("bytes=").split("-") for headers in server.seen("/model.bin")]
    assert sum(int(last) + 1 - int(first) for first, last in asked) == len(content) - sum(b - a for a, b in there)
    assert {headers["If-Range"] for headers in server.seen("/model.bin")} == {etag(content)}


def spans(state: Path) -> list[tuple[int, int]]:
    return [(start, end) for start, end in json.loads(state.read_bytes())["spans"]]
