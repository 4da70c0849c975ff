"""``tunerd token set`` and ``token delete``."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from . import output
from .client import Client
from .exits import Usage
from .options import Json
from .provider import BASE, PATIENCE

app = App(name="token", help="Save or delete the Replicate API token.")


@app.default
def _missing() -> int:
    raise Usage("token: set or delete is expected.\nTry: tunerd token --help")


@app.command(name="set")
def set_(
    api_token: Annotated[
        str | None,
        Parameter(help="r8_…; better piped or typed at the prompt: ps shows arguments.", allow_leading_hyphen=True),
    ] = None,
    /,
    *,
    as_json: Json = False,
) -> int:
    """Save a Replicate API token in the daemon, encrypted.

    Without an argument it is read from standard input, or asked for on a terminal without being shown.

    For example:

      tunerd token set
      pass show replicate | tunerd token set
    """
    client = Client.from_environment()
    given = _read_token() if api_token in {None, "-"} else str(api_token)
    if not given.strip():
        raise Usage("token set: no token was given.")
    answer = client.call("PUT", f"{BASE}/token", body={"api_token": given}, timeout=PATIENCE).json()
    if as_json:
        output.print_json(answer)
    elif answer.get("valid"):
        print("The token is saved, and Replicate accepts it.")
    else:
        refused = "" if answer.get("valid") is None else "The token is saved, but Replicate does not accept it: "
        print(output.clean(refused + (answer.get("error") or "see tunerd validate")))
        if answer.get("fix"):
            output.remark(answer["fix"])
    return 0


def _read_token() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read()
    from getpass import getpass

    try:
        return getpass("Replicate API token (r8_…): ")
    except EOFError:
        return ""


@app.command
def delete(*, as_json: Json = False) -> int:
    """Delete the saved token."""
    answer = Client.from_environment().call("DELETE", f"{BASE}/token").json()
    if as_json:
        output.print_json(answer)
    else:
        print("The saved token is deleted.")
    return 0
