"""A small image dataset, made on the spot: PNGs with captions, written with zlib alone."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

IMAGES = 6
SIDE = 64  # pixels; enough for a simulated trainer
_COLOURS = (("red", (214, 69, 65)), ("green", (63, 145, 91)), ("blue", (58, 110, 190)))


def write_dataset(folder: Path) -> int:
    """Put ``IMAGES`` pictures of discs with one caption file each into ``folder``; the number of files."""
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        name, colour = _COLOURS[number % len(_COLOURS)]
        radius = SIDE // 6 + number * 3
        (folder / f"disc-{number}.png").write_bytes(png(SIDE, disc(SIDE, radius, colour)))
        (folder / f"disc-{number}.txt").write_text(f"a {name} disc, radius {radius}, plain background\n")
    return 2 * IMAGES


def disc(side: int, radius: int, colour: tuple[int, int, int]) -> bytes:
    """RGB pixels, row by row, of a disc in the middle of a light square."""
    middle, pixels = side // 2, bytearray()
    for y in range(side):
        for x in range(side):
            inside = (x - middle) ** 2 + (y - middle) ** 2 <= radius**2
            pixels += bytes(colour if inside else (235, 235, 228))
    return bytes(pixels)


def png(side: int, pixels: bytes) -> bytes:
    """A square 8-bit RGB PNG (RFC 2083)."""
    rows = b"".join(b"\0" + pixels[start : start + 3 * side] for start in range(0, len(pixels), 3 * side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)  # 8 bits a channel, colour type 2: RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
