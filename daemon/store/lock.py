"""One daemon for one embedded database: a lock file that names its holder and is released by its death."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import DatabaseInUse, Misconfigured


@contextlib.contextmanager
def process_lock(path: Path, database: str) -> Iterator[None]:
    """Hold ``path`` locked. Raises ``DatabaseInUse``, naming the process that has it, for ``database``.

    The file stays behind: removing it would let a third process lock a file that is no longer there.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise Misconfigured(f"{path}: the lock file cannot be made: {problem.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _in_use(descriptor, database) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def refuse_held(database: Path, data_dir: Path, name: str) -> None:
    """Raise ``DatabaseInUse`` where another process has what ``embedded_lock`` takes. Nothing is made or kept."""
    for path in _lock_files(database, data_dir):
        with contextlib.suppress(FileNotFoundError, PermissionError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                raise _in_use(file.fileno(), name) from None


def _in_use(descriptor: int, database: str) -> DatabaseInUse:
    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    return DatabaseInUse(
        f"{database} is open in another tunerd, process {holder}. Stop that one first, or give this one "
        "another data directory (TUNERD_DATA_DIR)."
    )


def _lock_files(database: Path, data_dir: Path) -> list[Path]:
    elsewhere = database.parent.resolve() != data_dir.resolve()
    return [data_dir / "tunerd.lock", *([database.with_name(database.name + ".lock")] if elsewhere else [])]


@contextlib.contextmanager
def embedded_lock(database: Path, data_dir: Path, name: str) -> Iterator[None]:
    """Hold the data directory, and the database file's own place where that is elsewhere. As ``process_lock``."""
    with contextlib.ExitStack() as stack:
        for path in _lock_files(database, data_dir):
            stack.enter_context(process_lock(path, name))
        yield
