"""``tunerd wait``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from ..core.deliveries import GOING_ON
from . import output
from .client import Client
from .exits import FAILED, OK
from .options import Json


def wait(
    job_id: str,
    /,
    *,
    timeout: Annotated[float | None, Parameter(help="Give up after so many seconds (exit code 1).")] = None,
    as_json: Json = False,
) -> int:
    """Follow a job until it has ended and its files are delivered.

    Exits with 0 where the job completed, with 1 where it failed or was cancelled. Failed deliveries are
    reported; a delivery that is being retried is not waited for. A restart of the daemon is waited out.

    For example:

      tunerd wait job_ufawqhfynnddngldkgtslldrkq && echo done
    """
    from .watch import follow

    job = follow(Client.from_environment(), job_id, timeout=timeout, quiet=as_json)
    if as_json:
        output.print_json({"job": job})
    else:
        report(job)
    return exit_code(job)


def report(job: dict[str, Any]) -> None:
    """How the job ended and where its files are, on standard output."""
    print(output.clean(f"{job['job_id']} {job['status']}" + (f": {job['error']}" if job.get("error") else "")))
    for delivery in job["deliveries"]:
        again = " (retrying)" if delivery["status"] in GOING_ON else ""
        where = f"  {delivery['url']}" if delivery.get("url") else ""
        why = f"  {delivery['error']}" if delivery.get("error") else ""
        print(output.clean(f"  {delivery['destination']}: {delivery['status']}{again}{where}{why}"))


def exit_code(job: dict[str, Any]) -> int:
    return OK if job["status"] == "completed" else FAILED
