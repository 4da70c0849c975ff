"""A part of a file as a stream of its own: what a request's body is read from, as often as it is sent."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable
from typing import Any

BLOCK = 1024 * 1024  # bytes, for hashing


class Slice(io.RawIOBase):
    """``size`` bytes of the open file ``descriptor`` from ``start`` on. Many may read one file at once."""

    def __init__(self, descriptor: int, start: int, size: int, check: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._start = start
        self._size = size
        self._check = check
        self._at = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._check()
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        read = os.preadv(self._descriptor, [view], self._start + self._at) if len(view) else 0
        if len(view) and not read:
            raise OSError("the file became shorter while it was being sent")
        self._at += read
        return read

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def md5(self) -> str:
        """For the ``Content-MD5`` header: what every S3 server checks a body against."""
        digest, buffer = hashlib.md5(usedforsecurity=False), bytearray(BLOCK)
        while read := self.readinto(buffer):
            digest.update(memoryview(buffer)[:read])
        self.seek(0)
        return base64.b64encode(digest.digest()).decode()
