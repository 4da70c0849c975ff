"""A file while it is being fetched: under a hidden name, hashed as it grows, resumable after a crash.

Everything here blocks and belongs in a thread. ``.NAME.part`` holds the data, ``.NAME.state`` says how much of it is
surely on disk; ``NAME`` appears when it is whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import msgspec

BLOCK = 1024 * 1024  # bytes for one read, hash and write; 64 KiB halves the speed
SYNC_BYTES = 64 * 1024 * 1024  # synced at least this often, so that the last sync is short
SYNC_SECONDS = 2.0  # ... or this often: what a crash can lose of a slow download
RESERVE = 256 * 1024 * 1024  # bytes of the disk left to everything else (the journal above all)


class Fetched(msgspec.Struct, frozen=True):
    """A whole file."""

    bytes: int
    sha256: str


class State(msgspec.Struct):
    """What is known of the file being fetched; kept beside it."""

    url: str
    offset: int = 0  # bytes on disk for sure
    validator: str | None = None  # strong ETag or Last-Modified: proves that the rest belongs to what we have
    total: int | None = None  # bytes of the whole file
    md5: str | None = None  # hex, where the server told it


class Part:
    """One file on its way to ``path``. Used from one task; the lock lets ``close`` wait for a write in a thread."""

    def __init__(self, path: Path, url: str) -> None:
        """Take up what an earlier run left of ``url``; otherwise begin with an empty file."""
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._state = path.with_name(f".{path.name}.state")
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self.state = State(url)
        self.offset = 0
        self._synced_at = time.monotonic()
        self._take_up(url)

    def _take_up(self, url: str) -> None:
        try:
            state = msgspec.json.decode(self._state.read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            state = State(url)
        if state.url != url or state.offset > os.fstat(self._fd).st_size:
            self.restart()
            return
        self.state = state
        self._reset_hashes()
        os.ftruncate(self._fd, state.offset)  # what came after the last sync may be holes
        while self.offset < state.offset and (block := os.pread(self._fd, BLOCK, self.offset)):
            self._hash(block)

    def _reset_hashes(self) -> None:
        self.offset = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def _hash(self, block: bytes | bytearray) -> None:
        self._sha256.update(block)
        if self.state.md5 is not None:  # it costs more than the SHA-256 does
            self._md5.update(block)
        self.offset += len(block)

    def restart(self) -> None:
        """Begin again with nothing."""
        os.ftruncate(self._fd, 0)
        self._state.unlink(missing_ok=True)
        self.state = State(self.state.url)
        self._reset_hashes()

    def write(self, block: bytes | bytearray) -> None:
        """Append ``block``; sync now and then. ``OSError`` with ENOSPC where the disk has no room left to give."""
        with self._lock:
            view = memoryview(block)
            written = 0
            while written < len(view):
                written += os.pwrite(self._fd, view[written:], self.offset + written)
            view.release()
            self._hash(block)
            overdue = time.monotonic() - self._synced_at >= SYNC_SECONDS
            if overdue or self.offset - self.state.offset >= SYNC_BYTES:
                self._sync()
                if self.state.total is None and free_bytes(self.path.parent) < RESERVE:
                    raise OSError(errno.ENOSPC, "the disk is nearly full")

    def _sync(self) -> None:
        os.fsync(self._fd)
        self.state.offset = self.offset
        self._synced_at = time.monotonic()
        temporary = self._state.with_name(f"{self._state.name}.new")
        temporary.write_bytes(msgspec.json.encode(self.state))
        temporary.replace(self._state)

    def finish(self) -> Fetched | None:
        """Give the file its name, durably. ``None``: it is not what the server said, and was thrown away."""
        with self._lock:
            if self.state.md5 not in {None, self._md5.hexdigest()}:
                self.restart()
                return None
            os.fsync(self._fd)
            self._part.replace(self.path)
            self._state.unlink(missing_ok=True)
            sync_directory(self.path.parent)
            return Fetched(self.offset, self._sha256.hexdigest())

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def sync_directory(path: Path) -> None:
    """Make the names in ``path`` survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path) -> Fetched | None:
    """Size and SHA-256 of a regular file; ``None`` where there is none (a symbolic link is none)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            digest = hashlib.file_digest(file, "sha256")
        except OSError:  # a directory
            return None
        return Fetched(os.fstat(descriptor).st_size, digest.hexdigest())


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def total_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).total
