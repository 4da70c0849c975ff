"""Folders that a browser sends, for a submit to take them from: below the data directory, for the daemon's user alone.

A file comes in slices, so that none of its requests is long or large. What nobody came back to is removed after a day.
Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import BodyTooLarge, InvalidRequest, NotFound, NotReady

KEPT_SECONDS = 86_400.0  # since the last change; a submit that a crash interrupted takes the folder up again
MOST_BYTES = 1024**3  # of one folder: an archive over 100 MiB is refused, and texts shrink to a tenth
MOST_FILES = 20_000
MOST_DEPTH = 8
MOST_NAME_BYTES = 200  # of one part of a path; file systems take 255

_ID = re.compile(r"[0-9a-f]{32}")


class Uploads:
    """``now`` gives unix seconds."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        self._folder = folder
        self._now = now
        self._sizes: dict[str, tuple[int, int]] = {}  # upload → (files, bytes), as far as this process knows

    def begin(self) -> tuple[str, Path]:
        """A new empty folder, ``(id, path)``; old ones go. Raises ``NotReady`` where none can be made."""
        upload_id = secrets.token_hex(16)
        folder = self._folder / upload_id
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            folder.mkdir(mode=0o700)
        except OSError as problem:
            raise NotReady(f"{self._folder}: no folder can be made there: {problem.strerror}.") from None
        self._sizes[upload_id] = (0, 0)
        return upload_id, folder

    def write(self, upload_id: str, name: str, offset: int, content: bytes) -> int:
        """Put ``content`` at ``offset`` of file ``name`` (a relative path); the file's size afterwards.

        ``offset`` 0 begins it anew, another one has to be its size. Raises ``NotFound``, ``InvalidRequest``,
        ``BodyTooLarge`` (the folder would be too large) or ``NotReady`` (the disk).
        """
        folder = self._existing(upload_id)
        path = folder.joinpath(*_parts(name))
        files, size = self._sizes.get(upload_id) or _measured(folder)
        if offset == 0:  # what is there of the file goes
            known = path.lstat() if path.is_file() else None
            files += known is None
            size -= 0 if known is None else known.st_size
        if files > MOST_FILES or size + len(content) > MOST_BYTES:
            raise BodyTooLarge(f"A folder may have {MOST_FILES} files and {MOST_BYTES >> 20} MiB at most.")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            end = _append(path, offset, content)
            os.utime(folder)
        except OSError as problem:
            raise NotReady(f"{name}: it cannot be written: {problem.strerror}.") from None
        self._sizes[upload_id] = (files, size + len(content))
        return end

    def remove(self, upload_id: str) -> None:
        """Raises ``NotFound``."""
        folder = self._existing(upload_id)
        self._sizes.pop(upload_id, None)
        shutil.rmtree(folder, ignore_errors=True)

    def _existing(self, upload_id: str) -> Path:
        folder = self._folder / upload_id
        if not _ID.fullmatch(upload_id) or not folder.is_dir():
            raise NotFound(f"There is no upload {upload_id[:40]!r}. It may have been removed: begin a new one.")
        return folder

    def _sweep(self) -> None:
        for folder in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if _ID.fullmatch(folder.name) and self._now() - folder.stat().st_mtime > KEPT_SECONDS:
                    self._sizes.pop(folder.name, None)
                    shutil.rmtree(folder, ignore_errors=True)


def _parts(name: str) -> list[str]:
    """The parts of a relative path. Raises ``InvalidRequest`` for one that is none, or that leads out."""
    parts = name.split("/")
    usable = all(part not in {"", ".", ".."} and len(os.fsencode(part)) <= MOST_NAME_BYTES for part in parts)
    if not usable or len(parts) > MOST_DEPTH or not name.isprintable() or "\\" in name:
        raise InvalidRequest("name: a relative path without '..' is expected, as in cats/one.png.", field="name")
    return parts


def _append(path: Path, offset: int, content: bytes) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_TRUNC if offset == 0 else 0)
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as file:
        there = file.seek(0, os.SEEK_END)
        if offset != there:
            raise InvalidRequest(f"offset: {there} is expected, so much of the file is there.", field="offset")
        file.write(content)
        return there + len(content)


def _measured(folder: Path) -> tuple[int, int]:
    """``(files, bytes)`` of a folder that another run of the daemon began."""
    files = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    return len(files), sum(file.stat().st_size for file in files)
