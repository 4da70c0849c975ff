"""The hashes of a file that grows: always SHA-256, and whatever its server announced."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import cast

import msgspec


class Announced(msgspec.Struct, frozen=True):
    """What the server said of the whole file, as hex; ``None``: nothing."""

    md5: str | None = None
    crc32c: str | None = None


class Hashes:
    """Fed in order. MD5 costs more than twice what SHA-256 does: it is made only where there is one to compare with."""

    def __init__(self, announced: Announced) -> None:
        self._announced = announced
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if announced.md5 is not None else None
        self._crc32c = 0
        self._crc32c_of = _crc32c() if announced.crc32c is not None else None
        self.position = 0  # bytes hashed

    def update(self, block: memoryview) -> None:
        self._sha256.update(block)
        if self._md5 is not None:
            self._md5.update(block)
        if self._crc32c_of is not None:
            self._crc32c = self._crc32c_of(block, self._crc32c)
        self.position += len(block)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def mismatch(self) -> str | None:
        """The name of an announced hash that is another one; ``None``: all agree."""
        if self._md5 is not None and self._md5.hexdigest() != self._announced.md5:
            return "MD5"
        if self._crc32c_of is not None and f"{self._crc32c:08x}" != self._announced.crc32c:
            return "CRC32C"
        return None


def _crc32c() -> Callable[[memoryview, int], int]:
    # Here, since it is a library of 10 MB that is needed only where Google's storage answers; it has no types.
    from awscrt.checksums import crc32c  # type: ignore[import-untyped]  # noqa: PLC0415

    return cast("Callable[[memoryview, int], int]", crc32c)
