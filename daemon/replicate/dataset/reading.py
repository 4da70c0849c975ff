"""Opening a listed file, and nothing else that stands there by now."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from ...errors import DatasetUnreadable
from .listing import Found
from .names import shown


@contextlib.contextmanager
def opened(file: Found) -> Iterator[BinaryIO]:
    """The file as it was listed. Raises ``DatasetUnreadable`` where it is gone, or is another before or afterwards."""
    try:
        # Not through a link and not waiting for a pipe's other end: it was a plain file when it was listed.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            _check(file, descriptor)
            yield stream
            _check(file, descriptor)
    except OSError as problem:
        raise DatasetUnreadable(f"{shown(file.path)}: {problem.strerror}. Nothing was sent.") from None


def _check(file: Found, descriptor: int) -> None:
    now = os.fstat(descriptor)
    same = (now.st_size, now.st_mtime_ns, now.st_ino) == (file.bytes, file.modified, file.inode)
    if not (same and stat.S_ISREG(now.st_mode)):
        raise DatasetUnreadable(
            f"{shown(file.path)} changed while it was packed. Submit again when nothing writes there."
        )
