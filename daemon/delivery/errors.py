"""How a step of a delivery can end other than well. Their texts are shown to the user."""

from __future__ import annotations


class Retry(Exception):
    """It did not work now and may work later. Expected: not an error log."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after  # seconds the other side asked us to wait


class Slow(Retry):
    """Next to nothing comes, and others wait for the turn."""


class Permanent(Exception):
    """It will never work; trying again is useless."""


class StagedGone(Permanent):
    """A fetched file was removed before it was published, or another machine has it. It may be fetched again."""


class Gone(Exception):
    """The address no longer answers (403, 404, 410): outputs expire. A fresh one may exist."""


class Superseded(Exception):
    """A newer generation owns every delivery of this run: nothing is left to do here."""
