"""Ports that nobody has, for programs that cannot take port 0."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """All different: each is held until all are found."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in held]


def free_port() -> int:
    return free_ports(1)[0]
