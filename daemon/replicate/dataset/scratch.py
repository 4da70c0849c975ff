"""Where archives stand while they are packed and sent: below the data directory, for the daemon's user alone.

A folder is locked for as long as its owner lives, so that what ``kill -9`` left is told from what is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import NotReady

_PREFIX = "tunerd-"


class Scratch:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder, gone afterwards. Blocking. Raises ``NotReady`` where it cannot be made."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
            descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            raise NotReady(f"{self._folder}: no archive can be packed there: {problem.strerror}.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
            os.close(descriptor)

    def sweep(self) -> int:
        """Remove what killed processes left; how many folders that were. Blocking."""
        removed = 0
        with contextlib.suppress(OSError):
            for leftover in self._folder.glob(f"{_PREFIX}*"):
                removed += _remove_unlocked(leftover)
        return removed


def _remove_unlocked(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    except OSError:  # in use
        return False
    finally:
        os.close(descriptor)
