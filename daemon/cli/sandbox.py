"""``tunerd sandbox``: a simulated Replicate on a port of this machine."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import Parameter

from ..parsing import split_listener
from .exits import Failed, Usage
from .submit import read_pair


def sandbox(
    *,
    listen: Annotated[str, Parameter(help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:8089",
    speed: Annotated[float, Parameter(help="10 makes everything ten times as fast.")] = 1.0,
    seed: Annotated[int | None, Parameter(help="Makes ids, secrets and file contents repeatable.")] = None,
    api_token: Annotated[str | None, Parameter(help="The token it accepts; default: a new one.")] = None,
    webhook_secret: Annotated[
        str | None, Parameter(help="whsec_… that signs its webhooks; default: a new one.")
    ] = None,
    fault: Annotated[
        list[str] | None, Parameter(help="KNOB=VALUE of what goes wrong; repeatable. A wrong KNOB lists all.")
    ] = None,
) -> int:
    """Run a simulated Replicate that a daemon can be pointed at.

    It speaks the REST API, sends signed webhooks and serves output files. The
    first two lines that it prints point a daemon of the same shell at it.
    Faults can also be changed while it runs: POST /_sandbox/faults.

    For example:

      tunerd sandbox --listen 127.0.0.1:8089 --speed 5
      tunerd sandbox --fault webhook_duplicates=2 --fault 'webhook_drop=["logs"]'
    """
    host, port = _address(listen)
    if not 0 < speed < float("inf"):
        raise Usage("sandbox: --speed is a number above 0.")
    from msgspec import ValidationError

    from ..parsing import decode_webhook_secret
    from ..sandbox.faults import Faults
    from ..sandbox.server import serve_sandbox

    faults = Faults()
    try:
        if webhook_secret is not None:
            decode_webhook_secret(webhook_secret)
        faults.update(dict(map(read_pair, fault or ())))
    except (ValidationError, ValueError) as problem:
        raise Usage(f"sandbox: {problem}") from None
    try:
        asyncio.run(
            serve_sandbox(
                host,
                port,
                speed=speed,
                seed=seed,
                api_token=api_token,
                webhook_secret=webhook_secret,
                faults=faults,
            )
        )
    except OSError as problem:
        raise Failed(
            f"cannot listen on {listen}: {problem.strerror or problem}. Choose another address with --listen."
        ) from None
    return 0


def _address(listen: str) -> tuple[str, int]:
    try:
        address = split_listener(listen)
    except ValueError as problem:
        raise Usage(f"sandbox: {problem}") from None
    if not isinstance(address, tuple):
        raise Usage("sandbox: HOST:PORT is expected; a unix socket has no address that a daemon could fetch from.")
    return address
