"""What the running daemon tells its service manager, over a real notify socket."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from pathlib import Path

from tests.support.daemon import running_daemon
from tests.support.notify import service_manager

WATCHDOG_SECONDS = 4


async def test_from_start_to_stop(tmp_path: Path) -> None:
    async with (
        service_manager(tmp_path / "notify") as manager,
        running_daemon(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as daemon,
    ):
        ready = (await manager.told("READY=1"))[0]
        assert ready == {"READY": "1", "STATUS": f"serving on {daemon.url}"}
        assert daemon.process is not None
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.process.send_signal(signal.SIGHUP)
        await manager.told("READY=1", 2)
        reloading = manager.messages[1]
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert await daemon.stop() == 0
        assert (await manager.told("STOPPING=1"))[-1]["STATUS"] == "draining"
        assert not any("WATCHDOG" in message for message in manager.messages)  # nobody asked for it


async def test_the_watchdog_is_fed_while_the_store_answers(tmp_path: Path) -> None:
    given = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(WATCHDOG_SECONDS * 1_000_000)}
    async with service_manager(tmp_path / "notify") as manager, running_daemon(tmp_path, **given) as daemon:
        await manager.told("WATCHDOG=1", 3)
        holder = sqlite3.connect(daemon.home / "data" / "tunerd.sqlite3", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")  # as a file system that hangs: writes neither succeed nor fail
        await manager.told("STATUS=the store does not answer")
        said = len(manager.messages)
        await asyncio.sleep(WATCHDOG_SECONDS / 2)
        assert not any("WATCHDOG" in message for message in manager.messages[said:])
        holder.close()
        await manager.until(lambda messages: any("WATCHDOG" in message for message in messages[said:]))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)  # a loop that does not run
        await asyncio.sleep(0.5)
        said = len(manager.messages)
        await asyncio.sleep(WATCHDOG_SECONDS / 2)
        assert len(manager.messages) == said
        daemon.process.send_signal(signal.SIGCONT)
        await manager.until(lambda messages: len(messages) > said)
