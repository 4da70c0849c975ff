"""Sockets: opened as configured, passed by a service manager, left over by the dead."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.listeners import Listener, ListenFailed, open_listeners


@contextlib.contextmanager
def opened(*entries: str) -> Iterator[list[Listener]]:
    listeners = open_listeners(entries)
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.socket.close()


def test_every_spelling(tmp_path: Path) -> None:
    entries = ("127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/a", "proxy://127.0.0.1:0", f"proxy://unix:{tmp_path}/b")
    with opened(*entries) as found:
        ports = [one.socket.getsockname()[1] if one.socket.family != socket.AF_UNIX else None for one in found]
        assert [str(one) for one in found] == [
            f"http://127.0.0.1:{ports[0]}",
            f"http://[::1]:{ports[1]}",
            f"unix:{tmp_path}/a",
            f"proxy://127.0.0.1:{ports[3]}",
            f"proxy://unix:{tmp_path}/b",
        ]
        assert [one.proxied for one in found] == [False, False, False, True, True]


def test_a_unix_socket_is_for_its_group(tmp_path: Path) -> None:
    with opened(f"unix:{tmp_path}/socket"):
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o660


def test_what_a_dead_process_left_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with opened(f"unix:{path}"):
        with pytest.raises(ListenFailed, match="another process is listening"):
            open_listeners([f"unix:{path}"])
        assert path.is_socket()
    with opened(f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ListenFailed, match="cannot listen on unix:"):
        open_listeners([f"unix:{tmp_path}/file"])
    assert (tmp_path / "file").read_text() == "precious"


def test_a_taken_port_closes_what_was_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenFailed, match=rf"127\.0\.0\.1:{port}: .*--listen"):
            open_listeners([f"unix:{tmp_path}/socket", f"127.0.0.1:{port}"])
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(f"{tmp_path}/socket")


CHILD = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from daemon.listeners import ListenFailed, open_listeners
try:
    print(*open_listeners(["127.0.0.1:1"]))
except ListenFailed as problem:
    print("failed:", problem)
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


def passed(*sockets: socket.socket, names: str = "") -> list[str]:
    """What a process says that starts with ``sockets`` as its descriptors from 3 on."""
    duplicates = [os.dup(one.fileno()) for one in sockets]  # so that no number is in the way of another

    def place() -> None:
        for number, descriptor in enumerate(duplicates):
            os.dup2(descriptor, 100 + number)
        for number in range(len(duplicates)):
            os.dup2(100 + number, 3 + number)

    environ = {**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            env=environ,
            cwd=Path(__file__).parents[1],
            preexec_fn=place,
            close_fds=False,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for descriptor in duplicates:
            os.close(descriptor)
    return done.stdout.splitlines()


def test_passed_sockets_win_and_their_names_tell_what_they_speak() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as proxied:
        said = passed(plain, proxied, names="tunerd.socket:proxy")
        ports = plain.getsockname()[1], proxied.getsockname()[1]
    assert said == [f"http://127.0.0.1:{ports[0]} proxy://127.0.0.1:{ports[1]}", "[]"]


def test_a_passed_socket_of_another_kind_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert "ListenStream=" in passed(datagrams)[0]
