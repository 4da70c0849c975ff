"""The data directory and its files are their owner's alone: they hold secrets, and what jobs were given."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from ..errors import Misconfigured

_OTHERS = 0o077
# What the names of all that the daemon itself puts into its data directory begin with; "." are files on their way in.
_OURS = (
    "tunerd.",
    "dbos.",
    "secret.key",
    "worker.id",
    "ip-ranges",
    "before-restore-",
    "uploads",
    "outputs",
    "tmp",
    ".",
)


def make_private(data_dir: Path) -> None:
    """Make the data directory, or take everybody else's rights away from the one that is there, and from its files.

    A directory that holds other things than ours, or is somebody else's, stays as it is: `tunerd doctor` warns of it.
    Raises ``Misconfigured`` where it cannot be made.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(data_dir):
            _close(data_dir)
            for path in data_dir.iterdir():
                if path.is_file() and not path.is_symlink():
                    _close(path)
    except OSError as problem:
        raise Misconfigured(
            f"{data_dir}: the data directory cannot be made: {problem.strerror}. Make it, or set TUNERD_DATA_DIR."
        ) from None


def make_file(path: Path) -> None:
    """Make a database's file if it is not there: SQLite would let everyone read it.

    Its -wal and -shm files take this file's mode over.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _is_ours(folder: Path) -> bool:
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & stat.S_ISVTX:  # /tmp, where anyone may leave a file of our name
        return False
    # The lock says nothing: it is in somebody else's directory, too, from the first start there on.
    return all(path.name.startswith(_OURS) for path in folder.iterdir())


def _close(path: Path) -> None:
    with contextlib.suppress(PermissionError, FileNotFoundError):  # not ours, or gone
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
