"""Dataset folders as one zip: the same content gives the same bytes; judged by its real size."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from ...errors import ArchiveTooLarge, NotReady
from ..outgoing import Dataset, LeftOut
from .entries import Entry, entries
from .listing import list_folder
from .names import shown
from .reading import opened

ARCHIVE_LIMIT = 100 * 1024 * 1024  # bytes; the Files API refuses more ("less than 100MB")
_MEASURED = 1024 * 1024 * 1024  # bytes still to read, up to which an archive over the limit is measured to its end
_CHUNK = 256 * 1024
_SAMPLE = 32 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold: times of files tell about the user and change the digest
_LARGEST = 5  # files that a refusal names


class Archive(msgspec.Struct, frozen=True):
    """A packed archive; the file is gone when its context ends."""

    path: Path
    bytes: int
    sha256: str
    files: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


class Packing:
    """How far an archive is: bytes of the files that are in it, of all that go in. Written by the thread that packs."""

    def __init__(self) -> None:
        self.going_on = False
        self.done = 0
        self.total: int | None = None  # None: the folders are being listed, or others are packed first


class Stopped(Exception):
    """Whoever asked for the archive is gone."""


def pack(
    datasets: Sequence[Dataset], target: Path, stop: threading.Event | None = None, packing: Packing | None = None
) -> Archive:
    """Write the archive to ``target``. Blocking: for a thread; memory does not grow with the data.

    Raises ``DatasetUnreadable``, ``DatasetEmpty``, ``ArchiveTooLarge``.
    """
    planned: list[Entry] = []
    left_out: list[LeftOut] = []
    notes: list[str] = []
    for dataset in datasets:
        listing = list_folder(dataset.path)
        found, remarks = entries(dataset, listing)
        planned += found
        notes += remarks
        left_out += (LeftOut(f"{dataset.name}/{item.name}", item.reason) for item in listing.left_out)
    with target.open("wb") as file:
        sink = _Sink(file)
        _write(planned, sink, stop or threading.Event(), packing or Packing())
    if sink.size > ARCHIVE_LIMIT:
        raise _too_large(f"{_mib(sink.size)}", planned)
    return Archive(target, sink.size, sink.digest.hexdigest(), len(planned), tuple(left_out), tuple(notes))


def _write(planned: Sequence[Entry], sink: _Sink, stop: threading.Event, packing: Packing) -> None:
    packing.total = rest = sum(entry.file.bytes for entry in planned)
    with zipfile.ZipFile(sink, "w") as archive:
        for entry in planned:
            info = zipfile.ZipInfo(entry.name, _EPOCH)
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = 0o100644 << 16
            info.file_size = entry.file.bytes
            with opened(entry.file) as source:
                info.compress_type = zipfile.ZIP_DEFLATED if _shrinks(source, entry.file.bytes) else zipfile.ZIP_STORED
                with archive.open(info, "w") as out:
                    while chunk := source.read(_CHUNK):
                        out.write(chunk)
                        packing.done += len(chunk)
                        if stop.is_set():
                            raise Stopped
                        if sink.size > ARCHIVE_LIMIT and rest > _MEASURED:
                            raise _too_large(f"more than {_mib(ARCHIVE_LIMIT)}", planned)
            rest -= entry.file.bytes


def _shrinks(source: BinaryIO, size: int) -> bool:
    """Whether compressing is worth the time: most images are compressed already. Looks at start, middle and end."""
    spots = {0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}
    sample = b"".join(os.pread(source.fileno(), _SAMPLE, spot) for spot in sorted(spots))
    return len(zlib.compress(sample, 1)) < 0.98 * len(sample)


class _Sink(io.RawIOBase):
    """Where the zip is written, front to back: counts and digests all, keeps no more than the limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        self.size += len(data)
        if self.size <= ARCHIVE_LIMIT:
            self.digest.update(data)
            try:
                self._file.write(data)
            except OSError as problem:
                raise NotReady(f"The archive cannot be written to the data directory: {problem.strerror}.") from None
        return len(data)


def _too_large(size: str, planned: Sequence[Entry]) -> ArchiveTooLarge:
    largest = sorted(planned, key=lambda entry: -entry.file.bytes)[:_LARGEST]
    named = ", ".join(f"{shown(entry.file.relative)} ({_mib(entry.file.bytes)})" for entry in largest)
    return ArchiveTooLarge(
        f"The packed dataset has {size}; Replicate's file upload takes {ARCHIVE_LIMIT // 2**20} MiB. Nothing was sent. "
        f"Largest of {len(planned)} files: {named}. Use fewer or smaller files, or put the archive on a server of your "
        "own and give its https:// URL as the dataset."
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
