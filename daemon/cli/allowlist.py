"""``tunerd allowlist``: the IP rule in front of the webhook receiver."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from . import output
from .client import Client
from .exits import FAILED, OK, Usage
from .options import Json

PATH = "/api/cloud/allowlist"
PATIENCE = 60.0  # seconds: the daemon asks the feed in between

app = App(name="allowlist", help="Show the addresses that webhooks may come from, and explain a verdict.")


@app.default
def _missing() -> int:
    raise Usage("allowlist: show, refresh or explain is expected.\nTry: tunerd allowlist --help")


@app.command
def show(*, as_json: Json = False) -> int:
    """Show the rule: mode, addresses, the feed with its age, and whom it lately turned away."""
    answer = Client.from_environment().get(PATH)
    if as_json:
        output.print_json(answer)
    else:
        _tell(answer)
    return OK


@app.command
def refresh(
    *,
    accept: Annotated[bool, Parameter(help="Accept a list that differs greatly from the one in use.")] = False,
    as_json: Json = False,
) -> int:
    """Ask the feed of the cloud's address ranges now.

    Exits with 1 where it could not be read, or waits to be accepted: the last good list stays in force then.
    """
    client = Client.from_environment()
    answer = client.call("POST", f"{PATH}/refresh", body={"accept": accept}, timeout=PATIENCE).json()
    if as_json:
        output.print_json(answer)
    else:
        _tell(answer)
    feed = answer["feed"]
    if (feed["error"] or feed["alarm"]) and not as_json and answer["mode"] == "off":  # else it is told with the rest
        output.remark(f"tunerd: the feed {feed['url']} was not taken over: {feed['error'] or feed['alarm']}")
    return FAILED if feed["error"] or feed["alarm"] else OK


@app.command
def explain(
    address: Annotated[str, Parameter(help="The connection's other end, as the daemon sees it.")],
    /,
    *,
    forwarded_for: Annotated[str | None, Parameter(help="What X-Forwarded-For says: ADDRESS, ADDRESS …")] = None,
    as_json: Json = False,
) -> int:
    """Explain why a webhook from an address is let in or not: each hop, the verdict, the rule.

    Exits with 1 where it would be refused.

    For example:

      tunerd allowlist explain 34.82.10.20
      tunerd allowlist explain 127.0.0.1 --forwarded-for "34.82.10.20"
    """
    query = {"address": address, "forwarded_for": forwarded_for}
    answer = Client.from_environment().get(f"{PATH}/explain", query)
    if as_json:
        output.print_json(answer)
    else:
        for hop in answer["hops"]:
            by = f" [{hop['matched']}]" if hop["matched"] else ""
            print(output.clean(f"{hop['role']:<9}  {hop['address']}{by}  {hop['says']}"))
        print(output.clean(f"{answer['verdict']}  ({answer['rule']})"))
    return OK if str(answer["verdict"]).startswith("let in") else FAILED


def _tell(answer: dict[str, Any]) -> None:
    feed = answer["feed"]
    used = answer["mode"] != "off"
    age = feed["age_seconds"]
    output.fields(
        [
            ("mode", answer["mode"]),
            ("listed", ", ".join(answer["listed"]) or "nothing" + ("" if used else ": everybody is let in")),
            ("feed", f"{feed['url']} ({', '.join(feed['scopes'])})" if used else "not used"),
            ("ranges", (len(feed["ranges"]) or "none known yet") if used else None),
            ("age", output.duration(age) if used and age is not None else None),
            ("feed's error", feed["error"] if used else None),
            ("alarm", feed["alarm"] if used else None),
            ("trusted proxies", ", ".join(answer["trusted_proxies"])),
        ]
    )
    if used and feed["ranges"]:
        print()
        for start in range(0, len(feed["ranges"]), 4):
            print("  " + "  ".join(f"{network:<18}" for network in feed["ranges"][start : start + 4]).rstrip())
    if answer["rejections"]:
        print()
        rows = [
            (one["address"], one["count"], output.moment(one["last_at"]), one.get("path"))
            for one in answer["rejections"]
        ]
        output.table(("not in the list", "requests", "last", "path"), rows)
