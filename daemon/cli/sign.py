"""``tunerd sign`` and ``tunerd verify``: one header set and one body."""

from __future__ import annotations

import base64
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..core.signature import TOLERANCE_SECONDS, Verdict
from ..core.signature import sign as sign_body
from ..core.signature import verify as verify_body
from ..parsing import decode_webhook_secret
from . import output
from .environment import variable
from .exits import FAILED, OK, Usage
from .options import Json

ID_BYTES = 20  # random bytes of a message id, about as many as Replicate's have

Body = Annotated[str, Parameter(help="File with the body; - reads standard input.", allow_leading_hyphen=True)]
Secret = Annotated[str | None, Parameter(help="whsec_…; default: TUNERD_WEBHOOK_SECRET.")]


def sign(
    body: Body,
    /,
    *,
    secret: Secret = None,
    id_: Annotated[str | None, Parameter(name="--id", help="webhook-id; default: a new one.")] = None,
    timestamp: Annotated[int | None, Parameter(help="webhook-timestamp, unix seconds; default: now.")] = None,
    as_json: Json = False,
) -> int:
    """Print the three headers that sign a webhook body.

    For example:

      tunerd sign --secret whsec_… body.json
      curl --data-binary @body.json $(tunerd sign body.json | sed 's/: /:/;s/^/-H /') URL
    """
    key = keys_of(None if secret is None else [secret])[0]
    webhook_id = id_ or new_id()
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
        "webhook-signature": sign_body(key, webhook_id, stamp, read_body(body)),
    }
    if as_json:
        output.print_json(headers)
    else:
        for name, value in headers.items():
            print(f"{name}: {value}")
    return OK


def verify(
    body: Body,
    /,
    *,
    id_: Annotated[str, Parameter(name="--id", help="webhook-id.")],
    timestamp: Annotated[str, Parameter(help="webhook-timestamp.")],
    signature: Annotated[str, Parameter(help="webhook-signature, with all its entries.")],
    secret: Annotated[list[str] | None, Parameter(help="whsec_…; repeatable; default: TUNERD_WEBHOOK_SECRET.")] = None,
    tolerance: Annotated[float | None, Parameter(help="Also refuse a timestamp so many seconds off.")] = None,
    as_json: Json = False,
) -> int:
    """Check the signature of a webhook body.

    Exits with 0 where it matches, else with 1. The timestamp's age is shown;
    it is refused only with --tolerance.

    For example:

      tunerd verify --id msg_… --timestamp 1674087231 --signature v1,… body.json
    """
    now = time.time()
    given = {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": signature}
    keys, content = keys_of(secret), read_body(body)
    matching = matches(keys, given, content)
    limit = float("inf") if tolerance is None else tolerance
    verdict = verify_body(keys, id_, timestamp, signature, content, now=now, tolerance=limit)
    good = verdict is Verdict.OK
    if as_json:
        output.print_json({"valid": good, "verdict": verdict.value, "age_seconds": _age(timestamp, now)})
    elif good:
        print("The signature matches.")
        if _is_old(timestamp, now):
            output.remark(f"The timestamp is {_age(timestamp, now)} s old: a receiver refuses it.")
    else:
        output.remark(
            "The signature matches, but the timestamp is out of tolerance."
            if matching
            else "The signature does not match."
        )
    return OK if good else FAILED


def _age(timestamp: str, now: float) -> int | None:
    try:
        return int(now - int(timestamp))
    except (ValueError, OverflowError):
        return None


def _is_old(timestamp: str, now: float) -> bool:
    age = _age(timestamp, now)
    return age is not None and abs(age) > TOLERANCE_SECONDS


def new_id() -> str:
    """A message id that nobody used before."""
    return "msg_" + base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().rstrip("=").lower()


def keys_of(given: Sequence[str] | None) -> list[bytes]:
    """The HMAC keys of ``--secret``, else of TUNERD_WEBHOOK_SECRET; ``Usage`` where there is no valid one."""
    texts = list(given) if given else variable("TUNERD_WEBHOOK_SECRET").replace(",", " ").split()
    if not texts:
        raise Usage("a secret is needed: --secret whsec_… or TUNERD_WEBHOOK_SECRET.")
    try:
        return [decode_webhook_secret(text.strip()) for text in texts]
    except ValueError as problem:
        raise Usage(f"the secret is not valid: {problem}.") from None


def matches(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a signature is right, whenever it was made."""
    verdict = verify_body(
        keys, headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], body, now=0.0
    )
    return verdict in {Verdict.OK, Verdict.STALE}


def read_body(source: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``; ``Usage`` where it cannot be read."""
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as problem:
        raise Usage(f"{source}: {problem.strerror}.") from None
