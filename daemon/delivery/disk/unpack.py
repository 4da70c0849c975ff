"""Unpack one archive beside itself: all of it under a hidden name first, then one rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..staging import RESERVE
from .archive import Entry, Refused, entries
from .folder import COPY_BLOCK, Folder, temporary_name

# What weights compress to is near their size; text a tenth. Beyond this ratio it is a bomb, or as useless.
MAX_RATIO = 100
FREE_OF_RATIO = 64 * 1024 * 1024  # bytes that any archive may hold


class Limits(msgspec.Struct, frozen=True):
    """What one archive may hold at most."""

    files: int
    bytes: int


class Unpacked(msgspec.Struct, frozen=True):
    """A file from an archive. ``name``: its path in the folder, with slashes."""

    name: str
    bytes: int
    sha256: str


def unpack(folder: Folder, archive: Path, name: str, limits: Limits, check: Callable[[], None]) -> list[Unpacked]:
    """Put what ``archive`` holds into ``folder/name``, replacing what is there. By name.

    ``check`` is called between blocks and may raise. Raises ``Refused``; then ``folder/name`` is as it was.
    """
    temporary = temporary_name()
    limits = Limits(limits.files, min(limits.bytes, archive.stat().st_size * MAX_RATIO + FREE_OF_RATIO))
    os.mkdir(temporary, dir_fd=folder.descriptor)
    try:
        target = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder.descriptor)
        try:
            found = _Run(Folder(target, folder.path / name), limits, check).all(archive)
            os.fsync(target)
        finally:
            os.close(target)
        folder.remove(name)
        os.rename(temporary, name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
        folder.sync()
        return found
    finally:
        folder.remove(temporary)


class _Run:
    def __init__(self, target: Folder, limits: Limits, check: Callable[[], None]) -> None:
        self._target = target
        self._limits = limits
        self._check = check
        self._entries = 0
        self._bytes = 0

    def all(self, archive: Path) -> list[Unpacked]:
        found = []
        with entries(archive) as inside:
            for entry in inside:
                self._entries += 1
                if self._entries > self._limits.files:
                    raise Refused(f"it holds more than {self._limits.files} entries")
                if (file := self._one(entry)) is not None:
                    found.append(file)
        return sorted(found, key=lambda file: file.name)

    def _one(self, entry: Entry) -> Unpacked | None:
        folders = entry.parts if entry.content is None else entry.parts[:-1]
        with _entered(self._target, folders) as folder:
            if entry.content is None:
                return None
            digest, size = hashlib.sha256(), 0
            try:
                file = folder.create(entry.parts[-1])
            except FileExistsError:
                raise Refused(f"two entries are called {'/'.join(entry.parts)!r}") from None
            with file:
                while block := entry.content.read(COPY_BLOCK):
                    self._count(len(block))
                    file.write(block)
                    digest.update(block)
                    size += len(block)
                file.flush()
                os.fsync(file.fileno())
            return Unpacked("/".join(entry.parts), size, digest.hexdigest())

    def _count(self, size: int) -> None:
        """Counted as it comes out: what a header says of itself is no limit."""
        self._check()
        self._bytes += size
        if self._bytes > self._limits.bytes:
            raise Refused(f"it unpacks to more than {self._limits.bytes / 1024**2:.0f} MiB")
        if self._target.free_bytes() < RESERVE:
            raise Refused("the disk is nearly full")


@contextlib.contextmanager
def _entered(folder: Folder, names: tuple[str, ...]) -> Iterator[Folder]:
    """The folder ``names`` below ``folder``, each made if need be."""
    current, opened = folder, []
    try:
        for name in names:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=current.descriptor)
            try:
                descriptor = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current.descriptor
                )
            except NotADirectoryError:
                raise Refused(f"{name!r} is a file and a folder in one") from None
            opened.append(descriptor)
            current = Folder(descriptor, current.path / name)
        yield current
    finally:
        for descriptor in opened:
            os.close(descriptor)
