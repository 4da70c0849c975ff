"""What is to be sent to Replicate for one job, written down with the intent so that a restart can send exactly that.

The stored text has its secrets taken out; where it had any, the exact one is kept encrypted until the job is bound.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from ..parsing import WEBHOOK_PATH

# Exactly these; the enum knows no "failed", which "completed" covers. Without the list only output and completed come.
EVENTS_FILTER = ("start", "output", "logs", "completed")
REDACTED = "[redacted]"
UPLOADED_THEN = "[the URL of the uploaded archive]"  # in a dry run

_SECRET_KEY = re.compile(
    r"(?:^|_)(?:token|auth|authorization|credentials?|passwd|key)$|secret|password|access_key|api_?key|private_key"
)
# Secrets that show themselves by their shape, and passwords inside URLs.
_SECRET_TEXT = re.compile(r"\b(?:r8|hf|whsec)_[A-Za-z0-9+/=_-]{16,}|(?<=://)[^/@\s:]+:[^/@\s]+(?=@)")


class Dataset(msgspec.Struct, frozen=True):
    """A local folder whose files go along; its path never leaves this machine."""

    name: str
    path: str
    captions: str = "filename"  # SimpleTuner's caption_strategy: filename | textfile | instanceprompt
    prompt: str = ""  # the caption of every file, with instanceprompt


class LeftOut(msgspec.Struct, frozen=True):
    """Something in a dataset folder that is not sent."""

    name: str
    reason: str


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One create call. ``version`` is a bare id; ``None`` = the model's newest when it is sent."""

    kind: Literal["prediction", "training"]
    model: str | None  # owner/name; None where only a bare version is known
    version: str | None
    destination: str | None  # owner/name that a training writes to
    input: dict[str, Any]
    webhook: str | None
    datasets: tuple[Dataset, ...] = ()  # still to be packed and uploaded
    uploaded: tuple[Dataset, ...] = ()  # what the archive that ``input`` names was packed of
    uploaded_until: float | None = None  # unix seconds at which Replicate removes that archive; None: not told
    # What the user is told of their data; of a folder with very many such files, the first ones.
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    webhook_doubt: str | None = None  # what its user is told of a URL that could not be tried

    def payload(self, version: str | None) -> dict[str, Any]:
        """The request's body. No webhook URL: none is named, and the job is followed by polling."""
        body: dict[str, Any] = {"input": self.input, "webhook_events_filter": list(EVENTS_FILTER)}
        if self.kind == "training":
            body["destination"] = self.destination
        elif version is not None:
            body["version"] = version if self.model is None else f"{self.model}:{version}"
        if self.webhook is not None:
            body["webhook"] = self.webhook
        return body

    def told(self) -> dict[str, Any]:
        """What the submit's answer says of data and webhook; nothing where there is nothing to say."""
        told = {
            "data_left_out": [msgspec.to_builtins(item) for item in self.left_out],
            "data_notes": list(self.notes),
            "webhook_warning": self.webhook_doubt,
        }
        return {key: value for key, value in told.items() if value}

    def shown(self) -> dict[str, Any]:
        """The body as a dry run shows it: secrets redacted; the model named where its version is not chosen yet."""
        body = self.payload(self.version)
        if self.datasets:
            body["input"] = {**self.input, "images": UPLOADED_THEN}
        if self.kind == "training" or self.version is None:
            body = {"model": self.model, **({"version": self.version} if self.version else {}), **body}
        shown = redacted(body)
        assert isinstance(shown, dict)
        return shown


def webhook_with_job(base: str | None, job_id: str) -> str | None:
    """The URL to register; the query is our marker. It is not signed: a hint for the receiver, never an identity."""
    return None if base is None else f"{base}{WEBHOOK_PATH}?job={job_id}"


def webhook_base(url: str | None) -> str | None:
    """The public URL in what ``webhook_with_job`` made."""
    return None if url is None else url.rpartition(f"{WEBHOOK_PATH}?")[0]


def encode(outgoing: Outgoing) -> tuple[str, str | None]:
    """The text for the job's row, and the exact text where it holds secrets and must be kept apart."""
    exact = msgspec.json.encode(outgoing).decode()
    shown = msgspec.json.encode(redacted(msgspec.json.decode(exact))).decode()
    return shown, None if shown == exact else exact


def decode(text: str) -> Outgoing:
    """Raises ``msgspec.MsgspecError`` where ``text`` was not written by ``encode``."""
    return msgspec.json.decode(text, type=Outgoing)


def canonical(value: Any) -> bytes:
    """The same bytes for equal values, whatever the order of their keys."""
    return msgspec.json.encode(value, order="deterministic")


def redacted(value: Any, *, secret: bool = False) -> Any:
    """``value`` without secrets: texts under telling keys, texts of a telling shape, also inside JSON held as text."""
    if isinstance(value, dict):
        return {key: redacted(item, secret=_is_secret(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(item, secret=secret) for item in value]
    if not isinstance(value, str):
        return value
    if secret:
        return REDACTED if value else value
    if value[:1] in {"{", "["}:
        try:
            inner = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            pass
        else:
            clean = redacted(inner)
            return value if clean == inner else msgspec.json.encode(clean).decode()
    return _SECRET_TEXT.sub(REDACTED, value)


def _is_secret(key: Any) -> bool:
    return isinstance(key, str) and _SECRET_KEY.search(key.lower().lstrip("-").replace("-", "_")) is not None
