"""``tunerd logs``: a job's log, whole or as it grows."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from . import output
from .client import Client, job_path
from .options import Json
from .sse import Follower

PATIENCE = 120.0  # seconds: a log of tens of megabytes is put together from many events


def logs(
    job_id: str,
    /,
    *,
    follow: Annotated[bool, Parameter(alias="-f", help="Go on until the job has ended.")] = False,
    as_json: Json = False,
) -> int:
    """Print a job's log.

    Without a terminal the bytes come out as they are; on one, escape sequences are left out. With --json: one
    document {"job_id", "text"}, or with --follow one {"offset", "text"} a line.

    For example:

      tunerd logs job_ufawqhfynnddngldkgtslldrkq
      tunerd logs -f job_ufawqhfynnddngldkgtslldrkq
    """
    client = Client.from_environment()
    if follow:
        return _follow(client, job_id, as_json)
    text = client.call("GET", job_path(job_id, "logs"), timeout=PATIENCE).body
    if as_json:
        output.print_json({"job_id": job_id, "text": text.decode("utf-8", "replace")})
    else:
        _write(text)
    return 0


def _follow(client: Client, job_id: str, as_json: bool) -> int:
    """Every byte once: the stream continues after the last whole message, and what it repeats is cut off."""
    follower = Follower(
        client,
        job_path(job_id, "logs", "stream"),
        on_lost=lambda reason: output.remark(f"tunerd: the daemon is gone ({reason}); waiting for it to come back …"),
    )
    written = 0  # bytes
    for message in follower:
        data: dict[str, Any] = json.loads(message.data)
        if message.event == "end":
            return 0
        new = data["text"].encode()[max(0, written - data["offset"]) :]
        if not new:
            continue
        if as_json:
            output.print_json({"offset": data["offset"] + len(data["text"].encode()) - len(new), "text": new.decode()})
        else:
            _write(new)
        written = data["offset"] + len(data["text"].encode())
    return 0


def _write(text: bytes) -> None:
    if sys.stdout.isatty():
        text = output.harmless_log(text.decode("utf-8", "replace")).encode()
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
