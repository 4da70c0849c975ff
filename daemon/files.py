"""Files that survive a power loss, and the room for them. All of it blocks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple


class Space(NamedTuple):
    """Of a file system, in bytes."""

    free: int  # for a user without privileges
    total: int


def sync_directory(path: Path) -> None:
    """Make the names in ``path`` survive a power loss."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make the content of ``path`` survive a power loss, whoever wrote it."""
    _sync(path, os.O_RDWR | os.O_CLOEXEC)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Give ``path`` its content (mode 0600) in one rename: a crash leaves all of it, or what was there before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    sync_directory(path.parent)


def space(path: Path) -> Space:
    """Where ``path`` is, or would be once its folders are made."""
    usage = shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists()))
    return Space(usage.free, usage.total)
