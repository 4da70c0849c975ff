"""What goes wrong at a store or on the disk, as an outcome of the delivery."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .errors import StagedGone

MOST_CHARS = 500  # of what a library says
MOST_SAID = 300  # of what a server says, which is quoted in brackets

Outcome = Callable[[Exception, str], BaseException]  # (the problem, during what): what to raise in its place


@contextlib.contextmanager
def judged(what: str, outcome: Outcome) -> Iterator[None]:
    """What goes wrong inside becomes an outcome of the delivery that names ``what``."""
    try:
        yield
    except Exception as problem:  # noqa: BLE001 - each becomes an outcome, or is raised as it is
        raise outcome(problem, what) from None


def one_line(text: object, most: int = MOST_CHARS) -> str:
    return " ".join(str(text).split())[:most]


def answered(what: str, status: object, advice: str | None, said: object) -> str:
    """A server's refusal: its ``status``, what to do about it where that is known, and its own words."""
    words = one_line(said or "", MOST_SAID)
    return f"{what}: {status}" + (f", {advice}" if advice else "") + (f" ({words})" if words else "")


def file_gone(what: str) -> StagedGone:
    """A fetched file was removed before it was delivered."""
    return StagedGone(f"{what}: the fetched file is no longer in the staging folder")
