"""One download by the daemon's own code, in a process of its own, with a loop that is watched meanwhile.

Usage: python -m bench.download_once URL FOLDER; prints the fields of ``Download`` as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvloop

from daemon.delivery.fetch import Fetcher
from daemon.delivery.limits import Limits
from daemon.delivery.origins import Origins
from daemon.delivery.staging import Part
from daemon.delivery.threads import worker_pool

TICK_SECONDS = 0.001


class Download(msgspec.Struct):
    seconds: float  # from the first request to the checked, synced file under its name
    sha256: str
    stall_p99_ms: float  # by which a task that wakes every millisecond came late
    stall_max_ms: float
    rss_growth_mib: float  # most during the download, over what it was before


async def main(url: str, folder: Path) -> Download:
    """With the limits that a daemon has by default, on the event loop that a daemon has."""
    parts = urlsplit(url)
    origins = Origins(f"{parts.scheme}://{parts.netloc}", ())
    late: list[float] = []
    with worker_pool(2, "delivery") as pool:
        async with Fetcher(origins, _no_token, pool, Limits(), trust_env=False) as fetcher:
            part = await asyncio.to_thread(Part, folder / "model.tar", url)
            ticking = asyncio.create_task(_tick(late))
            await asyncio.sleep(0.2)
            before, begun = _memory("VmRSS"), time.perf_counter()
            fetched = await fetcher.attempt(url, part)
            seconds = time.perf_counter() - begun
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
            await asyncio.to_thread(part.close)
    late.sort()
    return Download(
        seconds, fetched.sha256, late[len(late) * 99 // 100] * 1e3, late[-1] * 1e3, _memory("VmHWM") - before
    )


async def _tick(late: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        late.append(time.perf_counter() - begun - TICK_SECONDS)


async def _no_token() -> None:
    return None


def _memory(what: str) -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


if __name__ == "__main__":
    result = uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
    print(msgspec.json.encode(result).decode())
