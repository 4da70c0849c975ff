"""``tunerd events replay``: stored or exported events, signed anew and sent to a receiver in their order."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from ..connecting import explain_connection
from ..core import retry_after
from ..core.signature import sign
from . import output
from .client import Client
from .exits import FAILED, OK, UNREACHABLE, Failed, Usage
from .options import Json
from .receiver_url import receiver_url
from .sign import Secret, keys_of, new_id

ATTEMPTS = 5  # for one event, where the receiver says "later" or does not answer
LONGEST_PAUSE = 30.0  # seconds; a Retry-After of more is cut to it


class Event(NamedTuple):
    """One event to send."""

    seq: int | None
    kind: str
    webhook_id: str
    body: bytes


def replay(
    file: Annotated[
        str | None,
        Parameter(
            help="What `tunerd events export` wrote, - for standard input; default: ask the daemon.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    /,
    *,
    url: Annotated[str | None, Parameter(help="The receiver; without a path the webhook path is added.")] = None,
    secret: Secret = None,
    job: Annotated[str | None, Parameter(help="Only this job's events.")] = None,
    from_: Annotated[int, Parameter(name="--from", help="Begin with this sequence number.")] = 1,
    to: Annotated[int | None, Parameter(help="End with this sequence number.")] = None,
    new_ids: Annotated[
        bool, Parameter(help="Give each event an id of its own, so that a receiver that knows them takes them again.")
    ] = False,
    dry_run: Annotated[bool, Parameter(help="Send nothing; say what would be sent.")] = False,
    as_json: Json = False,
) -> int:
    """Send stored or exported events to a receiver again, signed anew.

    They go in their order, one after another, with their bodies byte for byte, their ids, and the present time: a
    receiver that has them already answers "duplicate". What says 429 or 503 is asked again. Events that were polled go
    as webhooks, too. Exits with 1 where one was refused, with 3 where nobody answered.

    For example:

      tunerd events replay --job ID --url http://127.0.0.1:9000 --secret whsec_… --dry-run
      tunerd events replay events.jsonl --url https://other.example.com --secret whsec_…
    """
    if url is None and not dry_run:
        raise Usage("events replay: --url is required: the receiver to send the events to.")
    goal = None if url is None else receiver_url(url, "events replay")
    key = b"" if dry_run and secret is None else keys_of(None if secret is None else [secret])[0]
    events = _stored(job, from_, to) if file is None else _exported(file, job, from_, to)
    counts: Counter[str] = Counter()
    failed = False
    for stored in events:
        event = stored._replace(webhook_id=new_id()) if new_ids else stored
        if dry_run or goal is None:
            outcome = "would be sent"
        else:
            status, outcome = _send(goal, key, event)
            failed = failed or status >= 300
        counts[outcome] += 1
        line = {"seq": event.seq, "event": event.kind, "webhook_id": event.webhook_id, "outcome": outcome}
        if as_json:
            output.print_json(line)
        elif outcome not in {"accepted", "duplicate"}:
            print(output.clean(f"{event.seq or '-':>6}  {event.kind:<12}  {event.webhook_id}  {outcome}"), flush=True)
    if not as_json:
        print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "There is nothing to send.")
    return FAILED if failed else OK


def _stored(job: str | None, first: int, last: int | None) -> Iterator[Event]:
    """From the daemon."""
    from .events import body_of, rows_of

    client = Client.from_environment()
    for row in rows_of(client, job, first, last):
        answer = body_of(client, row["seq"])
        if answer is None:
            output.remark(f"event {row['seq']} is left out: its body was pruned.")
        else:
            yield Event(row["seq"], row["event"], row["webhook_id"], answer.body)


def _exported(file: str, job: str | None, first: int, last: int | None) -> Iterator[Event]:
    """From a file of JSON lines."""
    for number, text in enumerate(_lines(file), 1):
        try:
            row: dict[str, Any] = json.loads(text)
            seq, webhook_id = row.get("seq"), row["webhook_id"]
            if (job and row.get("job_id") != job) or not _within(seq, first, last):
                continue
            if "body_base64" not in row and "body_text" not in row:
                output.remark(f"event {seq} is left out: its body was pruned.")
                continue
            text_body = row.get("body_text")
            body = text_body.encode() if text_body is not None else base64.b64decode(row["body_base64"], validate=True)
            yield Event(seq, str(row.get("event")), str(webhook_id), body)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failed(f"{file}: line {number} is not a line of an export (tunerd events export).") from None


def _within(seq: int | None, first: int, last: int | None) -> bool:
    return seq is None or (seq >= first and (last is None or seq <= last))


def _lines(file: str) -> Iterator[bytes]:
    import sys

    try:
        if file == "-":
            yield from sys.stdin.buffer
            return
        with Path(file).open("rb") as lines:
            yield from lines
    except OSError as problem:
        raise Usage(f"{file}: {problem.strerror}.") from None


def _send(url: str, key: bytes, event: Event) -> tuple[int, str]:
    """The status and a word for it; asked again where the receiver says so."""
    for attempt in range(1, ATTEMPTS + 1):
        stamp = str(int(time.time()))
        headers = {
            "webhook-id": event.webhook_id,
            "webhook-timestamp": stamp,
            "webhook-signature": sign(key, event.webhook_id, stamp, event.body),
            "Content-Type": "application/json",
        }
        status, retry_after, content = _post(url, event.body, headers)
        if status not in {0, 429, 503} or attempt == ATTEMPTS:
            break
        time.sleep(min(LONGEST_PAUSE, retry_after if retry_after is not None else float(attempt)))
    if status == 0:
        raise NobodyAnswers(f"nobody answers at {url}: {content}. Events before this one were sent.")
    return status, _word(status, content)


class NobodyAnswers(Failed):
    exit_code = UNREACHABLE


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, float | None, str]:
    """(status, Retry-After in seconds, body); status 0: no answer."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request

    request = Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - http(s): receiver_url() saw to it
    try:
        with _opener().open(request, timeout=60) as answer:
            return answer.status, None, answer.read(65536).decode("utf-8", "replace")
    except HTTPError as refused:
        with refused:
            after = retry_after.seconds(refused.headers.get("Retry-After", ""))
            return refused.code, after, refused.read(65536).decode("utf-8", "replace")
    except (OSError, HTTPException) as problem:
        reason = getattr(problem, "reason", problem)  # urllib wraps what happened
        return 0, None, explain_connection(reason if isinstance(reason, BaseException) else problem)


def _opener() -> Any:
    from urllib.request import HTTPRedirectHandler, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """A redirect is told, not followed: Replicate does not follow one either."""

        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    return build_opener(NoRedirect)


def _word(status: int, content: str) -> str:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    words = found if isinstance(found, dict) else {}
    if status < 300:
        return str(words.get("status") or f"HTTP {status}")
    return f"refused with HTTP {status}" + (f" {words['code']}" if words.get("code") else "")
