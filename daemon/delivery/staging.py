"""A file while it is being fetched: under a hidden name, written in any order, hashed along, resumable after a crash.

Everything here blocks and belongs in a thread. ``.NAME.part`` holds the data, ``.NAME.state`` says which bytes of it
are surely on disk; ``NAME`` appears when all is there and checked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from ..files import sync_directory
from .errors import Permanent, Retry
from .hashing import Announced, Hashes
from .spans import Span, Spans

BLOCK = 256 * 1024  # bytes for one read, hash and write: what fits into a core's own cache is copied quickest
SYNC_BYTES = 64 * 1024 * 1024  # synced at least this often, so that the last sync is short
SYNC_SECONDS = 2.0  # ... or this often: what a crash can lose of a slow download
RESERVE = 256 * 1024 * 1024  # bytes of the disk left to everything else (the journal above all)
MISMATCHES = 3  # times that a whole file is not what its server announces, before that is believed


class Fetched(msgspec.Struct, frozen=True):
    """A whole file."""

    bytes: int
    sha256: str


class State(msgspec.Struct):
    """What is known of the file being fetched; kept beside it."""

    url: str
    spans: list[Span] = []  # on disk for sure
    validator: str | None = None  # strong ETag or Last-Modified: proves that the rest belongs to what we have
    total: int | None = None  # bytes of the whole file
    announced: Announced = Announced()
    pieces: bool = False  # the server says that it gives any part of the file: several can be fetched at once


class Part:
    """One file on its way to ``path``. Any number of threads may ``write``; ``restart`` and ``begin`` are for none."""

    def __init__(self, path: Path, url: str) -> None:
        """Take up what an earlier run left of ``url``; otherwise begin with an empty file."""
        self.path = path
        self._part = path.with_name(f".{path.name}.part")
        self._file = path.with_name(f".{path.name}.state")
        self._changed = threading.Condition()
        self._ended: bool | None = None  # whether all is there, once nothing more is written
        self._failure: OSError | None = None  # of the threads that hash and sync
        self._mismatches = 0
        self._named = False
        self.no_pieces = False  # the server said that it gives parts, and did not
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(OSError):  # for ``at_hand.take_over``: it leaves alone what is open
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self._take_up(url)
        except BaseException:
            self.close()  # or it would stay locked
            raise

    def _take_up(self, url: str) -> None:
        try:
            self.state = msgspec.json.decode(self._file.read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            self.state = State(url)
        ends = [end for _start, end in self.state.spans]
        if not _same_file(self.state, url) or max(ends, default=0) > os.fstat(self._fd).st_size:
            self.restart()
        self.state.url = url
        self._spans = Spans(self.state.spans)
        self._unsynced = 0
        self._hashes = Hashes(self.state.announced)

    def recover(self) -> None:
        """After a disk that failed: what was written since the last good sync may be lost."""
        if self._failure is not None:
            self._failure = None
            self._take_up(self.state.url)

    def restart(self) -> None:
        """Begin again with nothing."""
        os.ftruncate(self._fd, 0)
        self._file.unlink(missing_ok=True)
        self.begin(State(self.state.url))

    def begin(self, state: State) -> None:
        """What the server says of the file, before its first byte is written."""
        self.state = state
        self._spans = Spans()
        self._unsynced = 0
        self._hashes = Hashes(state.announced)

    @property
    def done(self) -> int:
        """Bytes that have come."""
        return self._spans.covered

    @property
    def prefix(self) -> int:
        """Bytes that have come from the beginning without a gap."""
        return self._spans.prefix

    @property
    def missing(self) -> int:
        """Bytes still to come, as far as is known."""
        return max(0, (self.state.total or 0) - self._spans.covered)

    @property
    def whole(self) -> bool:
        return self.state.total is not None and self.prefix == self.state.total

    @property
    def continuable(self) -> bool:
        """Whether what is there can be proved to belong to what the server still has."""
        known = self.state.total is not None or self.done == self.prefix
        return known and self.state.validator is not None

    def gaps(self) -> list[Span]:
        assert self.state.total is not None
        return self._spans.gaps(self.state.total)

    def write(self, offset: int, block: memoryview) -> None:
        """``OSError`` with ENOSPC where the disk has no room left to give."""
        if self._failure is not None:
            raise self._failure
        written = 0
        while written < len(block):
            written += os.pwrite(self._fd, block[written:], offset + written)
        with self._changed:
            self._spans.add(offset, offset + written)
            self._unsynced += written
            self._changed.notify_all()

    def start(self) -> None:
        """Before ``hash_along`` and ``sync_along`` are run, each in a thread of its own, beside those that write."""
        self._ended = None

    def end(self, *, whole: bool) -> None:
        """Nothing more is written; they end: with ``whole`` after the last byte, otherwise at once."""
        with self._changed:
            self._ended = whole
            self._changed.notify_all()

    def hash_along(self) -> None:
        """Hash what is there without a gap, while it is still in the page cache."""
        buffer = bytearray(BLOCK)
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ended is not None or self.prefix > self._hashes.position)
                    if self._ended is False or self.prefix == self._hashes.position:
                        return
                self._hash_one(buffer)
        except OSError as problem:
            self._failure = problem

    def sync_along(self) -> None:
        """Have the disk write, and note what it has written, every now and then and at the end."""
        try:
            while self._ended is None:
                with self._changed:
                    full = self._changed.wait_for(
                        lambda: self._ended is not None or self._unsynced >= SYNC_BYTES, SYNC_SECONDS
                    )
                if full or self._unsynced:
                    self._sync()
        except OSError as problem:
            self._failure = problem

    def _hash_one(self, buffer: bytearray) -> None:
        wanted = min(BLOCK, self.prefix - self._hashes.position)
        with memoryview(buffer)[:wanted] as view:
            count = os.preadv(self._fd, [view], self._hashes.position)
            if count == 0:
                raise OSError(errno.EIO, f"{self._part} has become shorter while it was written")
            self._hashes.update(view[:count])

    def _sync(self) -> None:
        with self._changed:
            spans, self._unsynced = self._spans.list(), 0
        os.fdatasync(self._fd)
        self.state.spans = spans
        temporary = self._file.with_name(f"{self._file.name}.new")
        temporary.write_bytes(msgspec.json.encode(self.state))
        temporary.replace(self._file)
        if self.state.total is None and free_bytes(self.path.parent) < RESERVE:
            raise OSError(errno.ENOSPC, "the disk is nearly full")

    def finish(self) -> Fetched:
        """Give the file its name, durably. ``Retry``: it is not what the server announced, and was thrown away."""
        with self._changed:
            if self._failure is not None:  # a failed sync is told once only, and the data may be lost
                raise self._failure
            size, buffer = self.prefix, bytearray(BLOCK)
            while self._hashes.position < size:
                self._hash_one(buffer)
            if (wrong := self._hashes.mismatch()) is not None:
                self._throw_away(wrong)
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
            if not self._named:  # by an attempt whose last sync failed
                self._part.replace(self.path)
                self._named = True
            self._file.unlink(missing_ok=True)
            sync_directory(self.path.parent)
            return Fetched(size, self._hashes.sha256)

    def _throw_away(self, wrong: str) -> None:
        self._mismatches += 1
        self.restart()
        reason = f"the {wrong} of what came is not the one that the server announced"
        if self._mismatches >= MISMATCHES:
            raise Permanent(f"{reason}, {MISMATCHES} times")
        raise Retry(reason)

    def close(self) -> None:
        with self._changed:  # not while the file gets its name
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def _same_file(state: State, url: str) -> bool:
    """Whether what was fetched from ``state.url`` can be continued from ``url``.

    An address that expired comes back with another signature in its query, or as another one altogether: then the
    ETag, which goes along with every request, must be one that no other file has.
    """
    if state.url == url:
        return True
    if state.validator is None or not state.validator.startswith('"'):
        return False
    old, new = urlsplit(state.url), urlsplit(url)
    unique = re.fullmatch(r'"[0-9a-f]{32,128}"', state.validator) is not None
    return unique or (old.scheme, old.netloc, old.path) == (new.scheme, new.netloc, new.path)


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
