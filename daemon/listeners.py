"""The sockets that the daemon answers on: those that systemd passed, else those of the setting ``listen``."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import systemd
from .parsing import PROXY_PREFIX, split_listener

BACKLOG = 1024  # connections that may wait for accept(): a burst after a restart


class ListenFailed(Exception):
    """A listener could not be opened; the message says which and why."""


@dataclass(frozen=True)
class Listener:
    """An open listening socket. ``proxied``: each connection begins with a PROXY protocol header."""

    socket: socket.socket
    proxied: bool = False

    def __str__(self) -> str:
        """Its address as a user writes it: ``http://HOST:PORT``, ``unix:/path``, either behind ``proxy://``."""
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return f"{PROXY_PREFIX if self.proxied else ''}unix:{name}"
        host = f"[{name[0]}]" if self.socket.family == socket.AF_INET6 else name[0]
        return f"{PROXY_PREFIX if self.proxied else 'http://'}{host}:{name[1]}"


def open_listeners(entries: Iterable[str]) -> list[Listener]:
    """Every listener, open. Sockets that systemd passed win over ``entries``; one named ``proxy…`` is proxied.

    Raises ``ListenFailed``.
    """
    passed = [Listener(_checked(found, name), name.startswith("proxy")) for found, name in systemd.passed_sockets()]
    if passed:
        return passed
    opened: list[Listener] = []
    try:
        for entry in entries:
            opened.append(Listener(_open(entry.removeprefix(PROXY_PREFIX)), entry.startswith(PROXY_PREFIX)))
    except OSError as problem:
        for listener in opened:
            listener.socket.close()
        raise ListenFailed(
            f"cannot listen on {entry}: {problem.strerror or problem}. "
            "Another program may have the port: choose another with --listen."
        ) from None
    return opened


def _checked(found: socket.socket, name: str) -> socket.socket:
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ListenFailed(
            f"systemd passed a socket ({name or 'without a name'}) that is not a listening stream socket: "
            "tunerd.socket needs ListenStream= and Accept=no."
        )
    found.setblocking(False)
    return found


def _open(entry: str) -> socket.socket:
    where = split_listener(entry)
    if isinstance(where, Path):
        return _open_unix(where)
    family, kind, protocol, _, address = socket.getaddrinfo(*where, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _open_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _refuse_live_socket(path)
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)  # the proxy's group may connect, others may not
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _refuse_live_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # left over by a process that died
    raise OSError(None, f"another process is listening on {path}")
