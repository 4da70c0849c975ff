"""What output files hold: bytes that follow from seed, name and size, made on the fly, at any offset.

So a test knows the SHA-256 beforehand, a file of several GiB costs no memory and a range costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

BLOCK_BYTES = 1 << 20  # one block of noise is repeated; its first 8 bytes are the block's number
_HEADER_BYTES = 128  # of JSON, filled up with blanks as the format allows
_PICTURE_PIXELS = 96  # wide and high
_CRC32C_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected; what x-goog-hash calls crc32c


class Content:
    """The bytes of one file. A ``.safetensors`` begins with a valid header, a ``.png`` with a picture."""

    def __init__(self, seed: int, name: str, size: int) -> None:
        self.size = size
        self._key = f"{seed}/{name}"
        self._head = _head(self._key, name, size)

    def chunks(self, start: int = 0, stop: int | None = None, *, limit: int = 1 << 18) -> Iterator[bytes]:
        """``[start, stop)`` in pieces of at most ``limit`` bytes."""
        end = self.size if stop is None else min(stop, self.size)
        while start < end:
            piece = self._piece(start, min(limit, end - start))
            start += len(piece)
            yield piece

    def read(self) -> bytes:
        return b"".join(self.chunks())

    def _piece(self, start: int, length: int) -> bytes:
        if start < len(self._head):
            return self._head[start : start + length]
        number, offset = divmod(start - len(self._head), BLOCK_BYTES)
        if offset < 8:  # the number
            return number.to_bytes(8, "big")[offset : offset + length]
        return _noise(self._key)[offset : offset + length]

    def digest(self, algorithm: str) -> str:
        """Hexadecimal hash of everything; takes about a second for a GiB."""
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.chunks(limit=BLOCK_BYTES):
            hasher.update(piece)
        return hasher.hexdigest()

    def crc32c(self) -> int:
        """In plain Python: about a second for 5 MB."""
        value, table = 0xFFFFFFFF, _crc_table()
        for piece in self.chunks():
            for byte in piece:
                value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ 0xFFFFFFFF


def content_sha256(name: str, size: int, *, seed: int = 0) -> str:
    """The SHA-256 of an output file of that name and size, as hexadecimal."""
    return Content(seed, name, size).digest("sha256")


@lru_cache(maxsize=8)
def _noise(key: str) -> bytes:
    return random.Random(key).randbytes(BLOCK_BYTES)


def _head(key: str, name: str, size: int) -> bytes:
    if name.endswith(".safetensors"):
        return _safetensors_head(size)
    picture = _picture(key) if name.endswith(".png") else b""
    return picture if len(picture) <= size else b""  # what follows a picture's end is not looked at


@lru_cache(maxsize=8)
def _picture(key: str) -> bytes:
    """A small PNG: two colours that run into each other, chosen by ``key``. About 3 kB."""
    chosen = random.Random(key)
    left, right = ([chosen.randrange(256) for _ in range(3)] for _ in range(2))
    lines = bytearray()
    for y in range(_PICTURE_PIXELS):
        lines.append(0)  # no filter
        for x in range(_PICTURE_PIXELS):
            share = (x + y) / (2 * _PICTURE_PIXELS - 2)
            lines += bytes(round(a + (b - a) * share) for a, b in zip(left, right, strict=True))
    shape = struct.pack(">IIBBBBB", _PICTURE_PIXELS, _PICTURE_PIXELS, 8, 2, 0, 0, 0)  # 8 bits, red green blue
    chunks = ((b"IHDR", shape), (b"IDAT", zlib.compress(bytes(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _safetensors_head(size: int) -> bytes:
    """Header for one byte tensor that fills the rest of ``size``; nothing where that is too small for a header."""
    data = size - 8 - _HEADER_BYTES
    if data <= 0:
        return b""
    tensor = {"dtype": "U8", "shape": [data], "data_offsets": [0, data]}
    header = json.dumps({"lora_unet.weight": tensor}, separators=(",", ":")).encode().ljust(_HEADER_BYTES)
    return _HEADER_BYTES.to_bytes(8, "little") + header


@lru_cache(maxsize=1)
def _crc_table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (_CRC32C_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)
