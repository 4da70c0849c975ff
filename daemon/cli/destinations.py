"""``tunerd destinations``, ``destinations pause`` and ``destinations resume``."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from . import output
from .client import Client, quoted
from .options import Json

PATH = "/api/cloud/publishing"

app = App(name="destinations", help="Show where results go; pause a destination, let it go on.")


@app.default
def show(*, as_json: Json = False) -> int:
    """Show where results go; pause a destination, let it go on."""
    client = Client.from_environment()
    answer = client.get(PATH)
    if as_json:
        output.print_json(answer)
        return 0
    output.table(
        ("destination", "type", "state", "at once", "options"),
        [
            (
                one["name"],
                one["type"],
                "paused" if one["paused"] else "on",
                one["concurrency"],
                ", ".join(f"{key}={value}" for key, value in one["options"].items()),
            )
            for one in answer["destinations"]
        ],
    )
    return 0


@app.command
def pause(name: str, /, *, as_json: Json = False) -> int:
    """Start nothing new at a destination.

    What runs there is finished. Other deliveries wait as pending; their files are fetched all the same, so that
    nothing expires meanwhile.
    """
    return _set(name, "pause", as_json, f"{name} is paused; tunerd destinations resume {name} lets it go on.")


@app.command
def resume(name: str, /, *, as_json: Json = False) -> int:
    """Let a paused destination go on."""
    return _set(name, "resume", as_json, f"{name} goes on.")


def _set(name: str, verb: str, as_json: bool, message: str) -> int:
    answer: Any = Client.from_environment().call("POST", f"{PATH}/{quoted(name)}/{verb}").json()
    if as_json:
        output.print_json(answer)
    else:
        print(output.clean(message))
    return 0
