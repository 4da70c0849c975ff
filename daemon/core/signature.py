"""Webhook signatures as Replicate and Standard Webhooks make them, checked without I/O and without a clock.

What is signed: ``id + "." + timestamp + "." + body``, the bytes on the wire. The header lists ``version,base64``
entries, separated by blanks; any ``v1`` entry that matches any live key is enough. Every function here is total:
whatever text and bytes come in, a value comes out. (The reference libraries raise on several of them.)
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache

TOLERANCE_SECONDS = 300.0  # Standard Webhooks, and Replicate's own example
LARGE_BYTES = 256 * 1024  # from here on, check in a thread: 10 MB take 7 ms
# hashlib frees the lock for 2048 bytes and more: a loop that gives it away waits for whatever thread takes it, which
# costs several times the hashing while the journal is being written.
_PIECE_BYTES = 2047

_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)  # longer ones are no time, and int() would be slow on them


class Verdict(Enum):
    OK = "ok"
    MISSING = "missing"  # a header is absent or empty
    INVALID = "invalid"  # no v1 entry matches any key
    STALE = "stale"  # signed by a key of ours, but at another time (or at no time at all)


def sign(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """One header entry, ``v1,<base64>``."""
    return "v1," + base64.b64encode(_digest(key, _signed_head(webhook_id, timestamp), body)).decode()


def verify(
    keys: Sequence[bytes],
    webhook_id: str | None,
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    *,
    now: float,
    tolerance: float = TOLERANCE_SECONDS,
) -> Verdict:
    """Judge one request. ``now`` in unix seconds; exactly ``tolerance`` seconds off is still good.

    The signature is judged first: nobody without a key learns anything about our clock.
    """
    if not webhook_id or not timestamp or not signature:
        return Verdict.MISSING
    if not _matches(keys, _signed_head(webhook_id, timestamp), body, signature):
        return Verdict.INVALID
    if not _INTEGER.fullmatch(timestamp) or not abs(now - int(timestamp)) <= tolerance:
        return Verdict.STALE
    return Verdict.OK


def _matches(keys: Sequence[bytes], head: bytes, body: bytes, signature: str) -> bool:
    given = _v1_entries(signature)
    if not given:
        return False
    for key in keys:
        # The base64 is compared, not the digest: there is nothing to decode that could be malformed.
        expected = binascii.b2a_base64(_digest(key, head, body), newline=False)
        for entry in given:
            if hmac.compare_digest(expected, entry):
                return True
    return False


def _v1_entries(signature: str) -> list[bytes]:
    """The base64 of each ``v1`` entry. Other versions and malformed entries are skipped, as the specification asks."""
    found = []
    for entry in signature.split():
        version, comma, value = entry.partition(",")
        if comma and version == "v1":
            # A proxy that joins two header lines puts ", " between them.
            found.append(_wire(value.rstrip(",")))
    return found


def _signed_head(webhook_id: str, timestamp: str) -> bytes:
    return _wire(f"{webhook_id}.{timestamp}.")


def _wire(text: str) -> bytes:
    """The bytes that a header's text was decoded from (UTF-8, surrogates for what is not)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that no header can have brought
        return text.encode("utf-8", "backslashreplace")


def _digest(key: bytes, head: bytes, body: bytes) -> bytes:
    if len(body) >= LARGE_BYTES:
        return hmac.digest(key, head + body, "sha256")  # frees the interpreter's lock meanwhile
    keyed = _keyed(key).copy()
    keyed.update(head)
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        keyed.update(view[start : start + _PIECE_BYTES])
    return keyed.digest()


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    """HMAC-SHA256 with the key already in: a quarter less work for a small body than ``hmac.digest``."""
    return hmac.new(key, digestmod="sha256")
