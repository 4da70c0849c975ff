"""Identifiers and secrets of the shapes that Replicate uses, from seeded randomness."""

from __future__ import annotations

import base64
import random
import string

_LOWER = string.ascii_lowercase + string.digits
_BASE62 = string.ascii_letters + string.digits


def prediction_id(rng: random.Random) -> str:
    return _of(rng, _LOWER, 26)


def api_token(rng: random.Random) -> str:
    return "r8_" + _of(rng, _BASE62, 37)


def webhook_secret(rng: random.Random) -> str:
    return "whsec_" + base64.b64encode(rng.randbytes(24)).decode()


def webhook_id(rng: random.Random) -> str:
    return "msg_" + _of(rng, _BASE62, 27)


def file_id(rng: random.Random) -> str:
    """Of the Files API: the base64 of a UUID's text, as recorded."""
    raw = rng.randbytes(16).hex()
    text = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
    return base64.b64encode(text.encode()).decode()


def delivery_id(rng: random.Random) -> str:
    return _of(rng, _BASE62, 48)


def _of(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choices(alphabet, k=length))
