"""What the head of an answer says: an error, which part of the file follows, and how the file can be recognised."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from ..core import retry_after
from .errors import Gone, Permanent, Retry
from .hashing import Announced
from .wire import Reply

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_DIGEST = re.compile(r'"([0-9a-f]{32})"')


class Range(msgspec.Struct, frozen=True):
    """A Content-Range: ``first`` and ``last`` byte, of ``total``."""

    first: int
    last: int
    total: int


def check_status(reply: Reply) -> None:
    """Raises ``Gone``, ``Retry`` or ``Permanent`` unless a body follows that is the file or a part of it."""
    status = reply.status
    if status in {401, 403, 404, 410}:
        raise Gone(f"the server answered {status} {reply.reason}".rstrip())
    if status >= 500 or status in {408, 416, 425, 429}:
        raise Retry(f"the server answered {status}", after=retry_after.seconds(reply.header("Retry-After") or ""))
    if status not in {200, 206}:
        raise Permanent(f"the server answered {status}")
    encoding = (reply.header("Content-Encoding") or "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Permanent(f"the server compressed the file ({encoding}) although it was asked not to")


def range_of(reply: Reply) -> Range | None:
    """Which part of the file a 206 brings; ``None`` where it does not say so plainly."""
    found = _RANGE.fullmatch((reply.header("Content-Range") or "").strip())
    if found is None:
        return None
    given = Range(*map(int, found.groups()))
    length = given.last - given.first + 1
    return given if 0 < length <= given.total - given.first and reply.length in {None, length} else None


def validator(reply: Reply) -> str | None:
    """What ``If-Range`` can prove the file by: a strong ETag, else the time of its last change."""
    etag = reply.header("ETag") or ""
    return etag if re.fullmatch(r'"[^"]+"', etag) else reply.header("Last-Modified")


def is_strong(proof: str | None) -> bool:
    return proof is not None and proof.startswith('"')


def agrees(reply: Reply, proof: str | None) -> bool:
    """Whether the answer does not show another validator than ``proof``."""
    return reply.header("ETag" if is_strong(proof) else "Last-Modified") in {None, proof}


def gives_pieces(reply: Reply) -> bool:
    """Whether the server says that it gives parts, and the file can be recognised in each of them."""
    units = (reply.header("Accept-Ranges") or "").lower().split(",")
    return "bytes" in {unit.strip() for unit in units} and is_strong(validator(reply))


def announced(reply: Reply) -> Announced:
    """The hashes that the server tells.

    Google's ``x-goog-hash: crc32c=…,md5=…``, in one header or several; composite objects have no MD5. An ETag only
    where it surely is an MD5: S3's, of an object that was sent in one piece and is not encrypted with a customer's key.
    """
    entries = (entry.strip().partition("=") for line in reply.headers("x-goog-hash") for entry in line.split(","))
    hashes = {name: _hex(value) for name, _, value in entries}
    md5 = hashes.get("md5")
    if md5 is None and _is_plain_s3(reply) and (found := _DIGEST.fullmatch(reply.header("ETag") or "")):
        md5 = found[1]
    return Announced(md5=_of_bytes(md5, 16), crc32c=_of_bytes(hashes.get("crc32c"), 4))


def _is_plain_s3(reply: Reply) -> bool:
    return (
        reply.header("Server") == "AmazonS3"
        and reply.header("x-amz-server-side-encryption") in {None, "AES256"}
        and reply.header("x-amz-server-side-encryption-customer-algorithm") is None
    )


def _hex(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return None


def _of_bytes(digest: str | None, count: int) -> str | None:
    return digest if digest is not None and len(digest) == 2 * count else None
