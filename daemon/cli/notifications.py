"""``tunerd notifications``: the endpoints of outgoing webhooks. ``tunerd alerts``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from . import output
from .client import Client, quoted
from .exits import Failed
from .options import Json

PATH = "/api/cloud/notifications"

app = App(name="notifications", help="List and manage notification endpoints (outgoing webhooks).")


@app.default
def show(*, as_json: Json = False) -> int:
    """List and manage notification endpoints (outgoing webhooks)."""
    answer = Client.from_environment().get(PATH)
    if as_json:
        output.print_json(answer)
        return 0
    if not answer["endpoints"]:
        print("No endpoints. Add one: tunerd notifications add NAME URL")
        return 0
    output.table(
        ("endpoint", "url", "state", "events", "waiting", "given up", "last error"),
        [
            (
                one["name"],
                one["url"],
                _state(one),
                "all" if one["events"] is None else ", ".join(one["events"]),
                one["pending"],
                one["given_up"],
                one["disabled_reason"] or one["last_error"],
            )
            for one in answer["endpoints"]
        ],
    )
    return 0


def _state(endpoint: dict[str, Any]) -> str:
    if not endpoint["enabled"]:
        return "disabled"
    return "failing" if endpoint["failing_since"] else "on"


@app.command
def add(
    name: str,
    url: str,
    /,
    *,
    event: Annotated[list[str] | None, Parameter(help="Only this event, such as delivery.failed; repeatable.")] = None,
    secret: Annotated[str | None, Parameter(help="whsec_…; without it one is made and shown.")] = None,
    allow_private: Annotated[bool, Parameter(help="The URL may be in a private network.")] = False,
    as_json: Json = False,
) -> int:
    """Add an endpoint; its signing secret is shown once.

    Slack and Mattermost take the URL of an incoming webhook as it is; for Discord append /slack to it.

    For example:

      tunerd notifications add chat https://hooks.slack.com/services/… --event delivery.failed
    """
    entry: dict[str, Any] = {"name": name, "url": url, "events": event, "allow_private": allow_private}
    if secret is not None:
        entry["secret"] = secret
    client = Client.from_environment()
    others = [{"name": one["name"]} for one in client.get(PATH)["endpoints"] if one["name"] != name]
    answer = client.call("PUT", PATH, body={"endpoints": [*others, entry]}).json()
    if as_json:
        output.print_json(answer)
        return 0
    made = next((one.get("secret") for one in answer["endpoints"] if one["name"] == name), None)
    print(output.clean(f"Endpoint {name} added. Test it: tunerd notifications test {name}"))
    if made:
        print(f"Its signing secret, shown this once: {made}")
    return 0


@app.command
def remove(name: str, /, *, as_json: Json = False) -> int:
    """Remove an endpoint."""
    return _change(name, None, as_json, f"Endpoint {name} removed.")


@app.command
def enable(name: str, /, *, as_json: Json = False) -> int:
    """Send to an endpoint again, also what was given up in the last days."""
    return _change(name, {"enabled": True}, as_json, f"Endpoint {name} enabled.")


@app.command
def disable(name: str, /, *, as_json: Json = False) -> int:
    """Send nothing more to an endpoint."""
    return _change(name, {"enabled": False}, as_json, f"Endpoint {name} disabled.")


@app.command(name="test")
def try_out(name: str, /, *, as_json: Json = False) -> int:
    """Send a test message to an endpoint."""
    answer = Client.from_environment().call("POST", f"{PATH}/{quoted(name)}/test").json()
    if as_json:
        output.print_json(answer)
    else:
        print(output.clean(f"A test is on its way to {name}; tunerd notifications shows whether it was taken."))
    return 0


def _change(name: str, changes: dict[str, Any] | None, as_json: bool, message: str) -> int:
    client = Client.from_environment()
    names = [one["name"] for one in client.get(PATH)["endpoints"]]
    if name not in names:
        raise Failed(f"There is no endpoint {name!r}; there is: {', '.join(names) or 'none'}.")
    kept = [{"name": one} for one in names if one != name]
    mine = [] if changes is None else [{"name": name, **changes}]
    answer = client.call("PUT", PATH, body={"endpoints": [*kept, *mine]}).json()
    if as_json:
        output.print_json(answer)
    else:
        print(output.clean(message))
    return 0


def alerts(*, as_json: Json = False) -> int:
    """Show what needs attention now."""
    answer = Client.from_environment().get("/api/cloud/alerts")
    if as_json:
        output.print_json(answer)
        return 0
    if not answer["alerts"]:
        print("Nothing needs attention.")
        return 0
    for one in answer["alerts"]:
        print(output.clean(f"{one['severity']:<8}  {one['message']}"))
    listed, total = len(answer["alerts"]), sum(answer["counts"].values())
    if total > listed:
        output.remark(f"{listed} of {total} are shown.")
    return 0
