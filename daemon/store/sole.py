"""The one worker that delivers: of several over one database, one at a time. An embedded one has one daemon anyway.

A lease in the settings' table: renewed while its owner lives, taken over once it has run out. It belongs to the data
directory, so a worker that was killed goes on at once when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from pathlib import Path
from secrets import token_hex

import msgspec
import sqlalchemy as sa

from .database import Database
from .schema import settings

# Six times as long as a worker takes between two looks; another one waits for so long when this one is gone.
LEASE_SECONDS = 60.0
# By which the machines' clocks may differ, and for which a look at the lease may take.
SKEW_SECONDS = 20.0
KEY = "delivering_worker"
OWNER_FILE = "worker.id"

_READ = sa.select(settings.c.value).where(settings.c.key == KEY)
_DELETE = settings.delete().where(settings.c.key == KEY)


class Lease(msgspec.Struct, frozen=True):
    """``until`` is in unix seconds of its owner's clock."""

    owner: str
    until: float

    def is_live(self, now: float) -> bool:
        """Further away than any lease lasts: the clock was set back since."""
        return now < self.until <= now + LEASE_SECONDS + SKEW_SECONDS


class Holder(msgspec.Struct, frozen=True):
    """``host``: its machine. ``ours``: it is this process."""

    host: str
    ours: bool


class Sole:
    def __init__(self, database: Database, data_dir: Path) -> None:
        self._database = database
        self._file = data_dir / OWNER_FILE
        self._works = False  # as soon as this process has asked whether it is the one
        self._owner: str | None = None
        self._descriptor = -1

    async def held(self, now: float) -> bool:
        """Whether this process is the one: it is from now on where no other is. Ask again well within the lease.

        Raises ``NotReady`` where nobody can tell now.
        """
        self._works = True
        if self._database.embedded:
            return True
        if self._owner is None:
            # The machine's name, too: a data directory may have been copied to another one.
            self._owner = f"{await asyncio.to_thread(self._read_owner)}@{socket.gethostname()}"
        owner, row = self._owner, await self._database.first(_READ)
        known = _lease(None if row is None else row.value)
        if known is not None and known.is_live(now):
            if known.owner != owner:
                return False
            if known.until - now > LEASE_SECONDS / 2:
                return True
        return await self._database.write(lambda connection: _take(connection, owner, now))

    async def holder(self, now: float) -> Holder | None:
        """Who delivers; ``None``: nobody does. Raises ``NotReady``."""
        if self._database.embedded:
            return Holder(socket.gethostname(), ours=True) if self._works else None
        row = await self._database.first(_READ)
        known = _lease(None if row is None else row.value)
        if known is None or not known.is_live(now):
            return None
        return Holder(known.owner.rpartition("@")[2], known.owner == self._owner)

    async def give_back(self) -> None:
        """Another one may go on at once. Nothing where it is not held."""
        owner = self._owner
        if owner is not None:
            await self._database.write(lambda connection: _give_back(connection, owner))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_owner(self) -> str:
        """The data directory's own name, as long as no other process has it; else one for this process alone."""
        owner = token_hex(16)
        with contextlib.suppress(OSError):  # another process has it, or the disk is full
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # for as long as it is open
            known = os.pread(self._descriptor, 64, 0).decode("ascii", "replace").strip()
            if known:
                return known
            os.pwrite(self._descriptor, f"{owner}\n".encode(), 0)
        return owner


def _lease(stored: str | None) -> Lease | None:
    try:
        return None if stored is None else msgspec.json.decode(stored, type=Lease)
    except msgspec.MsgspecError:
        return None


def _take(connection: sa.Connection, owner: str, now: float) -> bool:
    known = _lease(connection.execute(_READ).scalar())
    if known is not None and known.owner != owner and known.is_live(now):
        return False
    value = msgspec.json.encode(Lease(owner, now + LEASE_SECONDS)).decode()
    connection.execute(_DELETE)
    connection.execute(settings.insert(), {"key": KEY, "value": value, "updated_at": now})
    return True


def _give_back(connection: sa.Connection, owner: str) -> None:
    known = _lease(connection.execute(_READ).scalar())
    if known is not None and known.owner == owner:
        connection.execute(_DELETE)
