"""``tunerd deliveries``: of all jobs together, and the failed ones tried again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from . import output
from .client import Client
from .options import Json

PATH = "/api/cloud/deliveries"
PAGE = 200  # deliveries asked for at a time

Status = Literal["pending", "running", "delivered", "failed"]


def deliveries(
    *,
    status: Annotated[Status | None, Parameter(help="Only deliveries in this status.")] = None,
    failed: Annotated[bool, Parameter(help="Only failed ones, with their reason.")] = False,
    to: Annotated[str | None, Parameter(help="Only to this destination.")] = None,
    redrive: Annotated[bool, Parameter(help="Try the failed ones again.")] = False,
    limit: Annotated[int, Parameter(alias="-n", help="At most so many.")] = 50,
    as_json: Json = False,
) -> int:
    """List deliveries of all jobs, or try the failed ones again.

    Cancelled ones are not tried again: use tunerd redeliver for those.

    For example:

      tunerd deliveries --failed
      tunerd deliveries --redrive --to s3
    """
    client = Client.from_environment()
    if redrive:
        return _redrive(client, to, as_json)
    query = {"status": "failed" if failed else status, "destination": to}
    answer: dict[str, Any] = client.get(PATH, {**query, "limit": min(max(1, limit), PAGE)})
    while answer.get("next_cursor") and len(answer["deliveries"]) < limit:
        wanted = min(limit - len(answer["deliveries"]), PAGE)
        page = client.get(PATH, {**query, "limit": wanted, "cursor": answer["next_cursor"]})
        answer = {**page, "deliveries": answer["deliveries"] + page["deliveries"]}
    if as_json:
        output.print_json(answer)
        return 0
    found = answer["deliveries"]
    if not found:
        print("No deliveries.")
        return 0
    output.table(
        ("job", "destination", "status", "attempts", "changed", "where or why"),
        [
            (
                one["job_id"],
                one["destination"],
                one["status"],
                one["attempts"],
                output.moment(one["updated_at"]),
                one["error"] or one["url"],
            )
            for one in found
        ],
    )
    if answer.get("next_cursor"):
        output.remark(f"{len(found)} of {answer['total']} deliveries; more with --limit.")
    return 0


def _redrive(client: Client, to: str | None, as_json: bool) -> int:
    redriven: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    more = True
    while more:
        answer = client.call("POST", f"{PATH}/redrive", body={} if to is None else {"destination": to}).json()
        redriven += answer["redriven"]
        skipped = answer["skipped"]
        more = answer["more"] and bool(answer["redriven"])
    if as_json:
        output.print_json({"redriven": redriven, "skipped": skipped, "more": False})
        return 0
    print(f"{len(redriven)} failed deliveries are tried again." if redriven else "There is nothing to try again.")
    for one in skipped:
        output.remark(f"{one['job_id']} to {one['destination']}: left out: {one['reason']}")
    return 0
