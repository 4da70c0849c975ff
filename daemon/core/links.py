"""Where a delivery is, as a link: whether it can be opened, and until when. Total: any text gives an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import msgspec

_SCHEMES = frozenset({"http", "https"})  # a server at home mostly has no certificate
_YEAR_10000 = 253_402_300_800.0  # unix seconds
_LONGEST_DIGITS = 12


class Link(msgspec.Struct, frozen=True):
    """``until``: unix seconds, of a pre-signed link; ``None`` for one that does not end."""

    url: str
    opens: bool
    until: float | None


def link_of(url: str, now: float) -> Link:
    """``url`` is a destination's answer: the address of a page or a file, or only the name of a place."""
    try:
        found = urlsplit(url)
        query = parse_qs(found.query)
    except ValueError:
        return Link(url, opens=False, until=None)
    until = _until(query)
    is_address = found.scheme in _SCHEMES and bool(found.netloc)
    return Link(url, opens=is_address and (until is None or now < until), until=until if is_address else None)


def _until(query: dict[str, list[str]]) -> float | None:
    """When a signature of S3 ends: of version 4 so many seconds after its date, of version 2 at a time."""
    if "X-Amz-Signature" in query:
        began, seconds = _date(_one(query, "X-Amz-Date")), _number(_one(query, "X-Amz-Expires"))
        until = None if began is None or seconds is None else began + seconds
    else:
        until = _number(_one(query, "Expires")) if "Signature" in query else None
    return until if until is not None and until < _YEAR_10000 else None


def _one(query: dict[str, list[str]], name: str) -> str:
    return query.get(name, [""])[0]


def _date(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_DIGITS else None
