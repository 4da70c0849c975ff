"""SQLite's write-ahead log is carried over into the database in quiet moments, off the requests' path.

A passive checkpoint on a connection and a thread of its own does the bulk beside the writer; a second one in the
writer's thread then finds next to nothing to do, and leaves a log that is used again from its start. Automatic
checkpoints are off: they would make every n-th sender wait. Other stores have no such log.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from ..errors import NotReady
from .database import BUSY_SECONDS, Database

LOOK_SECONDS = 1.0  # how often it looks whether there is something to do
BUSY_LOOKS = 5  # under a load that never pauses: every so many looks
SHRINK_BYTES = 64 * 1024 * 1024  # a log file that a burst has left larger than this is cut in a quiet moment


@contextlib.asynccontextmanager
async def checkpoints(database: Database) -> AsyncIterator[None]:
    """Keep the log short for as long as this is open. Nothing where the database is not embedded."""
    if not database.embedded:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(_run(database, stop), name="checkpoints")
    try:
        yield
    finally:
        stop.set()
        await task


async def _run(database: Database, stop: asyncio.Event) -> None:
    done = seen = database.transactions
    looks = 0
    path = Path(str(database.url.database))
    while not await _stopped(stop, LOOK_SECONDS):
        quiet, seen, looks = database.transactions == seen, database.transactions, looks + 1
        # Also where all was carried over while it was busy: the long file is still there.
        shrink = quiet and _size(path.with_name(path.name + "-wal")) > SHRINK_BYTES
        if shrink or (seen != done and (quiet or looks >= BUSY_LOOKS)):
            # Whatever fails here is tried again at the next look; nothing is lost but time.
            with contextlib.suppress(sqlite3.Error, NotReady):
                await asyncio.to_thread(_checkpoint, path)
                await database.maintain(f"PRAGMA wal_checkpoint({'TRUNCATE' if shrink else 'PASSIVE'})")
                done, looks = seen, 0


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def _checkpoint(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
