"""The two things systemd and a daemon say to each other: passed sockets in, state out (sd_listen_fds, sd_notify)."""

from __future__ import annotations

import contextlib
import os
import socket

_FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START


def passed_sockets() -> list[socket.socket]:
    """The listening sockets that the service manager opened for this process; none when it opened none.

    The variables are removed, so that a child process does not take them for its own.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not count.isdigit() or pid != str(os.getpid()):
        return []
    found = []
    for fd in range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count)):
        os.set_inheritable(fd, False)
        found.append(socket.socket(fileno=fd))
    return found


def notify(*states: str) -> None:
    """Tell the service manager, e.g. ``READY=1``; does nothing where there is none. Never fails a running daemon."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.sendall("\n".join(states).encode())
