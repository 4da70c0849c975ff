"""The ``webhook-*`` headers of one attempt, right or wrong as the faults say."""

from __future__ import annotations

import random

from ..core.signature import sign
from ..parsing import decode_webhook_secret
from . import ids
from .faults import Faults


class Secrets:
    """The account's signing secret and those before it (newest last)."""

    def __init__(self, rng: random.Random, secret: str | None = None) -> None:
        self._rng = rng
        self._all = [secret or ids.webhook_secret(rng)]

    @property
    def current(self) -> str:
        return self._all[-1]

    def rotate(self, secret: str | None = None) -> str:
        self._all.append(secret or ids.webhook_secret(self._rng))
        return self.current

    def headers(self, webhook_id: str, now: float, body: bytes, faults: Faults) -> dict[str, str]:
        """Signed for ``now``: a repeated message keeps its id and gets a new timestamp and signature."""
        timestamp = str(int(now + faults.webhook_clock_skew))
        entries = [
            sign(decode_webhook_secret(secret), webhook_id, timestamp, body)
            for secret in self._signers(faults.webhook_sign_with)
        ]
        if faults.webhook_extra_signatures:
            stranger = sign(self._rng.randbytes(24), webhook_id, timestamp, body)
            entries = [stranger, "v2" + entries[0][2:], "malformed", "v1,", *entries, "v1a,hnO3f9T8"]
        return {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(entries),
        }

    def _signers(self, which: str) -> list[str]:
        if which == "wrong":
            return [ids.webhook_secret(self._rng)]
        if which == "old":
            return self._all[-2:][:1]
        return self._all[-2:] if which == "both" else self._all[-1:]
