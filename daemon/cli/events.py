"""``tunerd events``: what the journal holds, byte for byte."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from cyclopts import App, Parameter

from . import output
from .care import Config, DatabaseUrl, DataDir
from .client import Answer, Client, job_path
from .exits import ApiProblem, Failed, Usage
from .options import Json
from .rebuild import rebuild
from .replay import replay

PAGE = 200
SIGNED_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

Job = Annotated[str | None, Parameter(help="Only this job's events.")]
From = Annotated[int, Parameter(name="--from", help="Begin with this sequence number.")]
To = Annotated[int | None, Parameter(help="End with this sequence number.")]

app = App(name="events", help="Show, verify, export, replay and rebuild the journal.")
app.command(replay)
app.command(rebuild)


@app.default
def _missing() -> int:
    raise Usage("events: show, verify, export, replay or rebuild is expected.\nTry: tunerd events --help")


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
    row = next((row for row in rows_of(client, None, seq, seq)), None)
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
    local: Annotated[
        bool, Parameter(help="Read the daemon's database rather than ask the daemon, and check all of it.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Verify the stored events' signatures again, on this machine.

    Exits with 1 where one does not match. Events that were polled carry no signature and are passed over. With
    --local, run as the daemon's user (it may run meanwhile), every body is rebuilt and its checksum compared,
    signatures are checked with the secrets that the daemon knows as well, and the jobs' rows with what their events
    tell; exits with 1 where anything is wrong.

    For example:

      tunerd events verify --secret whsec_…
      tunerd events verify --local
    """
    from .sign import keys_of, matches

    if local:
        from .verify_local import verify_local

        if seq is not None or job is not None or from_ != 1 or to is not None:
            raise Usage("events verify: --local checks everything; leave SEQ, --job, --from and --to out.")
        return verify_local(secret, config, data_dir, database_url, as_json=as_json)
    keys = keys_of(secret)
    client = Client.from_environment()
    if seq is not None:
        from_, to = seq, seq
    counts = {"valid": 0, "invalid": 0, "unsigned": 0, "pruned": 0}
    for row in rows_of(client, job, from_, to):
        answer = body_of(client, row["seq"])
        headers = {} if answer is None else _headers(answer)
        signed = all(headers.get(name) for name in SIGNED_HEADERS)
        if answer is None:
            verdict = "pruned"
        else:
            verdict = "unsigned" if not signed else "valid" if matches(keys, headers, answer.body) else "invalid"
        counts[verdict] += 1
        if as_json:
            output.print_json({"seq": row["seq"], "webhook_id": row["webhook_id"], "verdict": verdict})
        elif verdict == "invalid" or seq is not None:
            print(output.clean(f"{row['seq']:>6}  {verdict}  {row['webhook_id']}"))
    if seq is not None and not sum(counts.values()):
        raise Failed(f"There is no event {seq}.")
    if not as_json:
        more = f", {counts['pruned']} pruned" if counts["pruned"] else ""
        print(f"{counts['valid']} valid, {counts['invalid']} invalid, {counts['unsigned']} without a signature{more}")
    return 1 if counts["invalid"] else 0


@app.command
def export(
    *,
    job: Job = None,
    from_: From = 1,
    to: To = None,
    text: Annotated[bool, Parameter(help="Bodies as readable text where they are UTF-8; base64 where not.")] = False,
    file: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="File to write; default: standard output.")
    ] = None,
    as_json: Json = False,  # noqa: ARG001 - as every command that reads: JSON is what it writes anyway
) -> int:
    """Export events as JSON lines, each with its headers and its body as base64 (body_base64) or text (body_text).

    Either gives every byte back. An event whose body was pruned has neither.

    For example:

      tunerd events export --output events.jsonl
    """
    client = Client.from_environment()
    if file is None:
        _export(client, sys.stdout.buffer, job, from_, to, text=text)
        return 0
    try:
        with file.open("wb") as target:
            count = _export(client, target, job, from_, to, text=text)
    except OSError as problem:
        raise Failed(f"{file}: {problem.strerror}") from None
    output.remark(f"{count} events written to {file}")
    return 0


def _export(client: Client, target: BinaryIO, job: str | None, first: int, last: int | None, *, text: bool) -> int:
    count = 0
    for row in rows_of(client, job, first, last):
        answer = body_of(client, row["seq"])
        line = row if answer is None else {**row, "headers": _headers(answer), **_encoded(answer.body, text=text)}
        target.write(json.dumps(line).encode() + b"\n")
        count += 1
    target.flush()
    return count


def _encoded(body: bytes, *, text: bool) -> dict[str, str]:
    if text:
        with contextlib.suppress(UnicodeDecodeError):
            return {"body_text": body.decode()}
    return {"body_base64": base64.b64encode(body).decode()}


def rows_of(client: Client, job: str | None, first: int, last: int | None) -> Iterator[dict[str, Any]]:
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


def body_of(client: Client, seq: int) -> Answer | None:
    """An event's body; ``None`` where it was pruned."""
    try:
        return _body(client, seq)
    except ApiProblem as problem:
        if problem.problem.get("code") == "body_pruned":
            return None
        raise


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
