"""``tunerd tail``: the journal, live."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from . import output
from .client import Client
from .options import Json
from .sse import Follower

Kind = Literal["start", "logs", "output", "completed", "failed", "cancelled", "unrecognized"]


def tail(
    *,
    from_: Annotated[
        int | None, Parameter(name="--from", help="Begin with this sequence number; default: new events only.")
    ] = None,
    job: Annotated[str | None, Parameter(help="Only this job's events.")] = None,
    event: Annotated[Kind | None, Parameter(help="Only events of this kind.")] = None,
    as_json: Json = False,
) -> int:
    """Print events as they arrive, from the durable journal.

    A lost connection is taken up again at exactly the next event. --json prints one JSON object a line.

    For example:

      tunerd tail --event completed
      tunerd tail --from 1 --json
    """
    client = Client.from_environment()
    follower = Follower(
        client,
        "/api/cloud/events/stream",
        query={"job": job, "event": event},
        last_id=None if from_ is None else str(max(0, from_ - 1)),
        on_lost=lambda reason: output.remark(f"tunerd: the daemon is gone ({reason}); waiting for it to come back …"),
    )
    for message in follower:
        row = _row(message.data)
        if row is None:
            continue
        if as_json:
            output.print_json(row)
        else:
            print(output.clean(line_of(row)), flush=True)
    return 0


def _row(data: str) -> dict[str, Any] | None:
    try:
        row = json.loads(data)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "seq" in row else None


def line_of(row: dict[str, Any]) -> str:
    """One event as one line for people."""
    unverified = "" if row.get("verified") or row.get("source") == "poll" else " NOT VERIFIED"
    return (
        f"{row['seq']:>6}  {output.moment(row.get('received_at'))}  {row.get('event') or '-':<12}  "
        f"{row.get('job_id') or '-'}  {row.get('source')}{unverified}"
    )
