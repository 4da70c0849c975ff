"""The ``Retry-After`` of an answer, where it is a number of seconds.

Its other form, a date, is rare and no reason to trust a stranger's clock; who reads it does so at the call.
"""

from __future__ import annotations

import re

_DIGITS = re.compile(r"[0-9]{1,9}")  # 30 years; more is a mistake


def seconds(text: str) -> float | None:
    """``None`` for anything that is not a plain number of seconds. Total."""
    return float(text) if _DIGITS.fullmatch(text.strip()) else None
