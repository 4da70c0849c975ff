"""What systemd and a daemon say to each other: passed sockets in, state out (sd_listen_fds, sd_notify, sd_watchdog)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable

import structlog

_FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START

WATCHDOG_PARTS = 4  # looks in each of systemd's periods: one that is late does not end the process
# What takes longer hangs. Less than the store's own patience, whose end would look like an answer.
HUNG_SECONDS = 4.0

log = structlog.get_logger()


def passed_sockets() -> list[tuple[socket.socket, str]]:
    """The sockets that the service manager opened for this process, each with its name; none when it opened none.

    The variables are removed, so that a child process does not take them for its own.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    names += [""] * int(count)
    found = []
    for number in range(int(count)):
        os.set_inheritable(_FIRST_PASSED_FD + number, False)
        found.append((socket.socket(fileno=_FIRST_PASSED_FD + number), names[number]))
    return found


def notify(*states: str) -> None:
    """Tell the service manager, e.g. ``READY=1``; does nothing where there is none. Never fails a running daemon."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall("\n".join(states).encode())


def notify_reloading() -> None:
    """A reload begins; ``READY=1`` ends it. systemd compares the time with that of its own signal."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def watchdog_seconds() -> float | None:
    """How often the service manager wants to hear from this process; ``None``: it does not ask."""
    wanted, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or not int(wanted) or pid not in {"", str(os.getpid())}:
        return None
    return int(wanted) / 1e6


async def feed_watchdog(period: float, check: Callable[[], Awaitable[object]]) -> None:
    """Say ``WATCHDOG=1`` for as long as this loop runs and ``check`` comes to an end. Never returns.

    A check that fails feeds it too: a disk that is full or a database that is away answers 503, and a restart would
    mend neither. A check that hangs does not: that is what a restart mends.
    """
    ailing = False
    while True:
        try:
            async with asyncio.timeout(min(HUNG_SECONDS, period / 2)):
                await check()
            notify("WATCHDOG=1", *(("STATUS=serving",) if ailing else ()))
            ailing = False
        except TimeoutError:
            ailing = True
            notify("STATUS=the store does not answer")
        except Exception as problem:
            if not ailing:
                log.warning("the store cannot be written", exc_info=problem)
            ailing = True
            notify("WATCHDOG=1", "STATUS=not ready: the store cannot be written")
        await asyncio.sleep(period / WATCHDOG_PARTS)
