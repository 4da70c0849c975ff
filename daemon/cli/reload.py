"""``tunerd reload``: the running daemon takes over a changed configuration file."""

from __future__ import annotations

from . import output
from .client import Client
from .exits import MISCONFIGURED, ApiProblem
from .options import Json


def reload(*, as_json: Json = False) -> int:
    """Have the daemon read its configuration again.

    It is applied whole or not at all. What only a restart can change (listeners, database, data directory …) is named
    and refused, a configuration that is not valid too; all stays as it was then. Flags and environment of the daemon
    are those of its start: what changes is the file. SIGHUP does the same.
    """
    try:
        answer = Client.from_environment().call("POST", "/api/cloud/reload").json()
    except ApiProblem as problem:
        if problem.problem.get("code") == "misconfigured":
            problem.exit_code = MISCONFIGURED
        raise
    if as_json:
        output.print_json(answer)
    else:
        changed = ", ".join(answer["changed"])
        print(output.clean(f"In force now; changed: {changed}" if changed else "Read again; nothing has changed."))
    return 0
