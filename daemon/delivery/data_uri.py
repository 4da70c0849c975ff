"""``data:`` URIs: the file is in the address."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from .errors import Permanent
from .staging import Part

MAX_DATA_BYTES = 256 * 1024**2  # decoded


def is_data(url: str) -> bool:
    return url[:5].lower() == "data:"


def write_data(url: str, part: Part) -> None:
    part.restart()
    part.write(0, memoryview(decode_data(url)))


def decode_data(url: str) -> bytes:
    """The content of a ``data:`` URI; ``Permanent`` where it is none or too large."""
    head, comma, payload = url[5:].partition(",")
    if not comma or len(payload) > MAX_DATA_BYTES * 4 // 3 + 4:
        raise Permanent("refused: a data: URI without content, or one that is too large")
    raw = unquote_to_bytes(payload)
    if head.lower().endswith(";base64"):
        try:
            raw = base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
        except binascii.Error:
            raise Permanent("refused: a data: URI whose base64 is broken") from None
    return raw


def shortened(url: str) -> str:
    """``url`` as it is shown and kept: the content of a ``data:`` URI left out."""
    if not is_data(url):
        return url
    head, _, payload = url.partition(",")
    return f"{head[:100]},… ({len(payload)} characters)"
