"""``tunerd validate``, ``versions`` and ``billing``: the provider's account, asked through the daemon."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from . import output
from .client import Client
from .options import Json

BASE = "/api/cloud/providers/replicate"
PATIENCE = 90.0  # seconds: the daemon asks Replicate in between, with retries, and many pages of versions


def validate(*, as_json: Json = False) -> int:
    """Check the Replicate API token.

    Exits with 0 where Replicate accepts it, else with 1.
    """
    answer = Client.from_environment().get(f"{BASE}/validate", timeout=PATIENCE)
    if as_json:
        output.print_json(answer)
    elif answer.get("valid"):
        user = answer.get("user_info") or {}
        print(
            output.clean(f"The token is valid: {user.get('username')} (from the {answer.get('token_source')} token).")
        )
    else:
        output.remark(f"The token is not valid: {answer.get('error')}")
        if answer.get("fix"):
            output.remark(answer["fix"])
    return 0 if answer.get("valid") else 1


def versions(
    *,
    model: Annotated[str | None, Parameter(help="OWNER/NAME; default: the configured model.")] = None,
    as_json: Json = False,
) -> int:
    """List a model's versions, newest first.

    For example:

      tunerd versions --model simpletuner/advanced-trainer
    """
    answer = Client.from_environment().get(f"{BASE}/versions", {"model": model}, timeout=PATIENCE)
    if as_json:
        output.print_json(answer)
        return 0
    current = answer.get("current_version")
    rows = [
        (version["id"], output.moment(version.get("created_at")), "in use" if _is(version, current) else "")
        for version in answer["versions"]
    ]
    output.table(("version", "created", ""), rows) if rows else print("No versions.")
    return 0


def _is(version: dict[str, Any], current: Any) -> bool:
    return current is not None and current in {version["id"], version.get("full_version")}


def billing(*, as_json: Json = False) -> int:
    """Show what has been spent.

    Replicate publishes no balance: these are the costs of the jobs that this daemon knows.
    """
    answer = Client.from_environment().get(f"{BASE}/billing", timeout=PATIENCE)
    if as_json:
        output.print_json(answer)
        return 0
    spend = answer.get("spend") or {}
    balance = answer.get("balance")
    output.fields(
        [
            ("balance", output.dollars(balance) if balance is not None else answer.get("balance_note")),
            *((f"spent {period}", output.dollars(spend.get(period))) for period in ("today", "week", "month")),
            ("running now", output.dollars(spend.get("running"))),
        ]
    )
    return 0
