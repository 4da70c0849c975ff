"""``tunerd events``: what the journal holds, byte for byte."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from cyclopts import App, Parameter

from . import output
from .client import Answer, Client, job_path
from .exits import Failed, Usage
from .options import Json

PAGE = 200
SIGNED_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

Job = Annotated[str | None, Parameter(help="Only this job's events.")]
From = Annotated[int, Parameter(name="--from", help="Begin with this sequence number.")]
To = Annotated[int | None, Parameter(help="End with this sequence number.")]

app = App(name="events", help="Show, verify and export what the journal holds.")


@app.default
def _missing() -> int:
    raise Usage("events: show, verify or export is expected.\nTry: tunerd events --help")


@app.command
def show(
    seq: int,
    /,
    *,
    raw: Annotated[bool, Parameter(help="The body's bytes and nothing else.")] = False,
    as_json: Json = False,
) -> int:
    """Show one event with its signature headers and body.

    For example:

      tunerd events show 42
      tunerd events show 42 --raw > body.json
    """
    client = Client.from_environment()
    answer = _body(client, seq)
    if raw:
        sys.stdout.buffer.write(answer.body)
        return 0
    row = next((row for row in _rows(client, None, seq, seq)), None)
    if as_json:
        output.print_json(_document(row or {"seq": seq}, answer))
        return 0
    headers = _headers(answer)
    output.fields([*(row or {"seq": seq}).items(), *((name, headers.get(name)) for name in SIGNED_HEADERS[1:])])
    print()
    print(output.clean(_pretty(answer.body), keep="\n"))
    return 0


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "replace")


@app.command
def verify(
    seq: Annotated[int | None, Parameter(help="Only this event; default: all.")] = None,
    /,
    *,
    secret: Annotated[list[str] | None, Parameter(help="whsec_…; repeatable; default: TUNERD_WEBHOOK_SECRET.")] = None,
    job: Job = None,
    from_: From = 1,
    to: To = None,
    as_json: Json = False,
) -> int:
    """Verify the stored events' signatures again, on this machine.

    Exits with 1 where one does not match. Events that were polled carry no signature and are passed over.

    For example:

      tunerd events verify --secret whsec_…
    """
    from .sign import keys_of, matches

    keys = keys_of(secret)
    client = Client.from_environment()
    if seq is not None:
        from_, to = seq, seq
    counts = {"valid": 0, "invalid": 0, "unsigned": 0}
    for row in _rows(client, job, from_, to):
        answer = _body(client, row["seq"])
        headers = _headers(answer)
        signed = all(headers.get(name) for name in SIGNED_HEADERS)
        verdict = "unsigned" if not signed else "valid" if matches(keys, headers, answer.body) else "invalid"
        counts[verdict] += 1
        if as_json:
            output.print_json({"seq": row["seq"], "webhook_id": row["webhook_id"], "verdict": verdict})
        elif verdict == "invalid" or seq is not None:
            print(output.clean(f"{row['seq']:>6}  {verdict}  {row['webhook_id']}"))
    if seq is not None and not sum(counts.values()):
        raise Failed(f"There is no event {seq}.")
    if not as_json:
        print(f"{counts['valid']} valid, {counts['invalid']} invalid, {counts['unsigned']} without a signature")
    return 1 if counts["invalid"] else 0


@app.command
def export(
    *,
    job: Job = None,
    from_: From = 1,
    to: To = None,
    file: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="File to write; default: standard output.")
    ] = None,
) -> int:
    """Export events as JSON lines, each with its headers and its body as base64.

    For example:

      tunerd events export --output events.jsonl
    """
    client = Client.from_environment()
    if file is None:
        _export(client, sys.stdout.buffer, job, from_, to)
        return 0
    try:
        with file.open("wb") as target:
            count = _export(client, target, job, from_, to)
    except OSError as problem:
        raise Failed(f"{file}: {problem.strerror}") from None
    output.remark(f"{count} events written to {file}")
    return 0


def _export(client: Client, target: BinaryIO, job: str | None, first: int, last: int | None) -> int:
    count = 0
    for row in _rows(client, job, first, last):
        answer = _body(client, row["seq"])
        line = {**row, "headers": _headers(answer), "body_base64": base64.b64encode(answer.body).decode()}
        target.write(json.dumps(line).encode() + b"\n")
        count += 1
    target.flush()
    return count


def _rows(client: Client, job: str | None, first: int, last: int | None) -> Iterator[dict[str, Any]]:
    """Journal rows from ``first`` to ``last``, both included."""
    path = "/api/cloud/events" if job is None else job_path(job, "events")
    after = max(0, first - 1)
    while True:
        wanted = PAGE if last is None else min(PAGE, last - after)
        if wanted < 1:
            return
        rows = client.get(path, {"after": after, "limit": wanted})["events"]
        for row in rows:
            if last is not None and row["seq"] > last:
                return
            yield row
        if not rows:
            return
        after = rows[-1]["seq"]


def _body(client: Client, seq: int) -> Answer:
    return client.call("GET", f"/api/cloud/events/{seq}/body")


def _headers(answer: Answer) -> dict[str, str]:
    found = {name.lower(): value for name, value in answer.headers.items()}
    return {name: found[name] for name in SIGNED_HEADERS if name in found}


def _document(row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """One event with its body: as JSON where it is, and always as base64."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = None
    return {**row, "headers": _headers(answer), "body": body, "body_base64": base64.b64encode(answer.body).decode()}
