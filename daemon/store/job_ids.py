"""Our ids for jobs that were not submitted here, and the id that an event's URL names."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import parse_qs, urlsplit

from ..core.prediction import Prediction
from .text import storable

_PLAIN_ID = re.compile(r"[0-9a-z]{1,64}")  # what Replicate's ids look like; anything else is hashed into a job id


def hinted_job_id(prediction: Prediction, hint: str | None) -> str | None:
    """Our job id in the webhook URL: as echoed in the signed body, else as asked for (unsigned)."""
    if prediction.webhook and "?" in prediction.webhook:
        try:
            echoed = parse_qs(urlsplit(prediction.webhook).query).get("job")
        except ValueError:
            echoed = None
        if echoed:
            hint = echoed[0]
    return storable(hint) if hint else None


def job_id_for(provider_id: str) -> str:
    """Our id for a job that was not submitted here."""
    return f"job_{provider_id}" if _PLAIN_ID.fullmatch(provider_id) else hashed_id(provider_id)


def hashed_id(provider_id: str) -> str:
    return "job_" + hashlib.blake2b(provider_id.encode("utf-8", "backslashreplace"), digest_size=13).hexdigest()
