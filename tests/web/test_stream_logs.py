"""The live log of a job: every byte once, resumed at any of them, and an end."""

from __future__ import annotations

import asyncio

from tests.support.sse import PATIENCE, Frame, Reader, open_stream
from tests.support.webapp import Served

LOG = "Bögen 🎨\r\n10%|#\r20%|##\n\ndata: x\n\nevent: end\n" * 50


async def follow_log(served: Served, path: str, **headers: str) -> tuple[bytes, list[Frame]]:
    """The bytes of all chunks, and the frames, of a stream that ends by itself."""
    frames = []
    async with open_stream(served, path, **headers) as answer:
        assert answer.status == 200
        reader = Reader(answer)
        while (frame := await reader.next()) is not None:
            frames.append(frame)
    chunks = [frame for frame in frames if frame.event == "log"]
    for frame in chunks:
        assert int(frame.id or -1) == frame.data["offset"] + len(frame.data["text"].encode())
    return b"".join(frame.data["text"].encode() for frame in chunks), frames


async def test_a_log_that_grows_until_the_job_ends(served: Served) -> None:
    await served.event("p1", logs=LOG[:10])
    following = asyncio.create_task(follow_log(served, "/api/cloud/jobs/p1/logs/stream"))
    for end in range(10, len(LOG), 97):
        await served.event("p1", logs=LOG[:end])
        await asyncio.sleep(0.02)
    await served.event("p2", logs="another's")
    await served.event("p1", status="succeeded", logs=LOG)
    text, frames = await asyncio.wait_for(following, PATIENCE)
    assert text == LOG.encode()
    assert frames[-1] == Frame(str(len(LOG.encode())), "end", {"offset": len(LOG.encode()), "status": "completed"})
    assert len(frames) > 3


async def test_a_log_is_resumed_at_any_byte(served: Served) -> None:
    await served.event("p1", status="failed", logs=LOG, error="it failed")
    whole = LOG.encode()
    path = "/api/cloud/jobs/p1/logs/stream"
    for offset in (0, 1, 2, 7, 8, 9, 10, 500, len(whole) - 1, len(whole), len(whole) + 5):
        text, frames = await follow_log(served, f"{path}?offset=0", **{"Last-Event-ID": str(offset)})
        start = frames[0].data["offset"]
        assert start <= offset < start + 4
        assert text == whole[start:]
        assert (frames[-1].event, frames[-1].data["status"]) == ("end", "failed")
    text, _ = await follow_log(served, f"{path}?offset=9")
    assert text == whole[7:]  # the first byte of the character


async def test_a_long_log_comes_in_pieces(served: Served) -> None:
    log = "".join(f"line {number} ü\n" for number in range(20_000))
    await served.event("p1", status="succeeded", logs=log)
    text, frames = await follow_log(served, "/api/cloud/jobs/p1/logs/stream")
    assert text == log.encode()
    assert len(frames) > 5


async def test_a_finished_job_without_a_log_ends_at_once(served: Served) -> None:
    await served.event("p1", status="canceled")
    _, frames = await follow_log(served, "/api/cloud/jobs/p1/logs/stream")
    assert frames == [Frame("0", "end", {"offset": 0, "status": "cancelled"})]
