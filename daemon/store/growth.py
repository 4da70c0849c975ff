"""Growth coding: a body is kept as what it adds to the job's previous one.

Each event of a training repeats the whole log so far, so bodies differ from their predecessors by a little in one
place. A body is stored as ``base[:head] + unzstd(middle) + base[-tail:]``; a *whole* body has no base and its
``middle`` is all of it. Pure: bytes in, bytes out. Total on any bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import zstandard

# 9 costs seven times as much as 3 for a tenth less. Below the size, 1 packs as well as 3 in two thirds of the time.
ZSTD_LEVEL, SMALL_LEVEL, SMALL_BYTES = 3, 1, 64 * 1024
_STEP = 4096  # bytes compared first; doubled while equal, halved after a difference

_local = threading.local()  # zstd contexts are costly to make and not safe to share between threads


class Stored(msgspec.Struct, frozen=True):
    """One body as it is kept. ``whole``: there is no base."""

    body_bytes: int
    head: int
    tail: int
    middle: bytes  # zstd
    whole: bool


def encode_whole(body: bytes) -> Stored:
    return Stored(len(body), 0, 0, _compress(body), whole=True)


def encode_growth(base: bytes, body: bytes) -> Stored:
    """``body`` by what it adds to ``base``. Head and tail overlap in neither."""
    shorter = min(len(base), len(body))
    head = common_head(base, body, shorter)
    tail = common_tail(base, body, shorter - head)
    return Stored(len(body), head, tail, _compress(body[head : len(body) - tail]), whole=False)


def grow(base: bytes, stored: Stored) -> bytes:
    """The body that ``stored`` makes of ``base`` (of nothing, where it is whole). Raises ``ValueError``."""
    if stored.head + stored.tail > min(len(base), stored.body_bytes):
        raise ValueError("a body's base is missing or too short")
    middle = _decompress(stored.middle, stored.body_bytes - stored.head - stored.tail)
    return b"".join((base[: stored.head], middle, base[len(base) - stored.tail :])) if base else middle


def rebuild(chain: Sequence[Stored]) -> bytes:
    """The body of ``chain[0]``; each entry's base is the next, the last one is whole.

    Walks from the wanted body towards the whole one with the intervals that are still missing, and unpacks only the
    middles that give some of it: no body between is ever made. Raises ``ValueError`` where the chain does not hold.
    """
    pieces: list[tuple[int, bytes]] = []  # (offset in the wanted body, bytes)
    missing = [(0, chain[0].body_bytes, 0)]  # (start, end) in the present body, offset in the wanted one
    for index, entry in enumerate(chain):
        base_bytes = 0 if entry.whole else chain[index + 1].body_bytes if index + 1 < len(chain) else -1
        if base_bytes < entry.head + entry.tail:
            raise ValueError("a body's base is missing or too short")
        missing = _step_back(entry, base_bytes, missing, pieces)
        if not missing:
            break
    pieces.sort()
    return b"".join([data for _, data in pieces])


def _step_back(
    entry: Stored, base_bytes: int, missing: list[tuple[int, int, int]], pieces: list[tuple[int, bytes]]
) -> list[tuple[int, int, int]]:
    """Take from ``entry``'s middle what is missing; the rest, in the coordinates of its base."""
    head, tail_start = entry.head, entry.body_bytes - entry.tail
    shift = base_bytes - entry.body_bytes  # from this body's tail to the base's
    middle: bytes | None = None
    following: list[tuple[int, int, int]] = []
    for interval in missing:
        start, end, offset = interval
        if end <= head:  # most are, and a long chain has thousands of steps
            following.append(interval)
            continue
        if start < head:
            following.append((start, min(end, head), offset))
        if start < tail_start and end > head:
            if middle is None:
                middle = _decompress(entry.middle, tail_start - head)
            first, last = max(start, head), min(end, tail_start)
            pieces.append((offset + first - start, middle[first - head : last - head]))
        if end > tail_start:
            first = max(start, tail_start)
            following.append((first + shift, end + shift, offset + first - start))
    return following


def common_head(a: bytes, b: bytes, limit: int) -> int:
    """How many of the first ``limit`` bytes are the same in both; ``limit`` is at most the shorter length."""
    view, length, step = memoryview(a), 0, _STEP
    growing = True
    while step:
        size = min(step, limit - length)
        # startswith compares in place (memcmp), where == on slices would copy both.
        if size and b.startswith(view[length : length + size], length):
            length += size
            step = step * 2 if growing else step
        else:
            growing = False
            step = min(step, size) // 2
    return length


def common_tail(a: bytes, b: bytes, limit: int) -> int:
    """How many of the last ``limit`` bytes are the same in both; ``limit`` is at most the shorter length."""
    view, length, step = memoryview(a), 0, _STEP
    growing = True
    while step:
        size = min(step, limit - length)
        start = len(a) - length - size
        if size and b.startswith(view[start : start + size], len(b) - length - size):
            length += size
            step = step * 2 if growing else step
        else:
            growing = False
            step = min(step, size) // 2
    return length


def _compress(data: bytes) -> bytes:
    name, level = ("small", SMALL_LEVEL) if len(data) < SMALL_BYTES else ("large", ZSTD_LEVEL)
    packer = getattr(_local, name, None)
    if packer is None:
        packer = zstandard.ZstdCompressor(level=level, write_checksum=False)
        setattr(_local, name, packer)
    return bytes(packer.compress(data))


def _decompress(data: bytes, size: int) -> bytes:
    unpacker = getattr(_local, "decompressor", None)
    if unpacker is None:
        unpacker = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        plain = bytes(unpacker.decompress(data))
    except zstandard.ZstdError as problem:
        raise ValueError(f"a stored piece does not unpack: {problem}") from None
    if len(plain) != size:
        raise ValueError(f"a stored piece has {len(plain)} bytes instead of {size}")
    return plain
