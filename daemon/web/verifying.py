"""A webhook's signature against the secrets that are live now, and what its body says once that holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..core.prediction import Prediction, parse_prediction
from ..core.signature import LARGE_BYTES, TOLERANCE_SECONDS, Verdict, verify
from ..errors import SignatureInvalid, SignatureMissing, TimestampOutOfTolerance
from ..replicate.webhook_secret import WebhookSecrets
from .incoming import Signed

THREADS = 2  # of our own: the default ones may all be waiting for uploads

T = TypeVar("T")


class Verifier:
    """``close`` ends its threads, which large bodies are verified and read in."""

    def __init__(self, secrets: WebhookSecrets) -> None:
        self._secrets = secrets
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    async def verified(self, signed: Signed, body: bytes, now: float) -> Prediction | None:
        """What the body says, once its signature holds. Raises the refusals of the contract, and ``NotReady``."""
        if signed.repeated:
            raise SignatureInvalid(f"{signed.repeated} was sent more than once: which one was signed cannot be known.")
        if signed.missing:
            raise _missing(signed.missing)
        live = await self._secrets.get()
        verdict, prediction = await self._heavy(len(body), examine, live, signed, body, now)
        if verdict is Verdict.INVALID:
            renewed = await self._secrets.refetch(live)
            if renewed is not None:
                verdict, prediction = await self._heavy(len(body), examine, renewed, signed, body, now)
        if verdict is Verdict.STALE:
            raise _stale(signed, now)
        if verdict is not Verdict.OK:
            raise SignatureInvalid(
                "No v1 entry of webhook-signature matches. Is the body passed on unchanged, and is the secret that of "
                "the account which runs the job? (TUNERD_WEBHOOK_SECRET, or REPLICATE_API_TOKEN to fetch it.)"
            )
        return prediction

    async def unverified(self, body: bytes) -> Prediction | None:
        """What the body says, whoever sent it."""
        return await self._heavy(len(body), parse_prediction, body)

    async def _heavy(self, size: int, work: Callable[..., T], *arguments: object) -> T:
        """``work(*arguments)``, off the loop where ``size`` bytes are too many for it."""
        if size < LARGE_BYTES:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def examine(live: tuple[bytes, ...], signed: Signed, body: bytes, now: float) -> tuple[Verdict, Prediction | None]:
    """Verify and parse in one go: one hop to a thread."""
    verdict = verify(live, signed.id, signed.timestamp, signed.signature, body, now=now)
    return verdict, parse_prediction(body) if verdict is Verdict.OK else None


def _missing(names: tuple[str, ...]) -> SignatureMissing:
    return SignatureMissing(
        f"The endpoint was reached and answers, but the request is not signed: {', '.join(names)} missing. "
        "Replicate sends all three headers; to try by hand, use 'tunerd trigger'."
    )


def _stale(signed: Signed, now: float) -> TimestampOutOfTolerance:
    return TimestampOutOfTolerance(
        f"The signature holds, but webhook-timestamp {str(signed.timestamp)[:30]!r} is not within "
        f"{TOLERANCE_SECONDS:g} s of this machine's clock ({now:.0f}). If that repeats, set the clock (NTP)."
    )
