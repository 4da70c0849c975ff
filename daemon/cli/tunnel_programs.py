"""ngrok and cloudflared as processes: how each is started, and where it says its public URL."""

from __future__ import annotations

import collections
import contextlib
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from .exits import Failed

URL_SECONDS = 60.0  # a tunnel is there within seconds; a slow network needs more
STOP_SECONDS = 5.0  # then it is killed: it holds nothing of ours
_LINES_KEPT = 40
_LOCAL_SECONDS = 3.0  # for an answer of the program's own API on this machine
_LOOK_SECONDS = 0.1

# Past every proxy: the API is on this machine.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Program:
    """One tunnel program. ``url_of`` reads the public URL off its output so far; ``None`` while it is not there."""

    name: str
    get: str  # where to get it
    arguments: Callable[[str], list[str]]
    url_of: Callable[[list[str], str], str | None]


def _ngrok_url(lines: list[str], local: str) -> str | None:
    """From ngrok's local API, whose address it logs: 127.0.0.1:4040, the next one where that is taken."""
    for line in reversed(lines):
        found = re.search(r'msg="starting web service".*\baddr=(\S+)', line)
        if found:
            tunnels = _json(f"http://{found[1]}/api/tunnels").get("tunnels")
            return _of_tunnels(tunnels if isinstance(tunnels, list) else [], local)
    return None


def _of_tunnels(tunnels: list[Any], local: str) -> str | None:
    """The https URL of the tunnel that leads to ``local``; its API lists those of every session of this program."""
    for tunnel in tunnels:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if tunnel["public_url"].startswith("https://") and _port(tunnel["config"]["addr"]) == _port(local):
                return str(tunnel["public_url"])
    return None


_QUICK = re.compile(r"\|\s+(https://[a-z0-9-]+\.trycloudflare\.com)\s+\|")
_METRICS = re.compile(r"Starting metrics server on ([0-9a-zA-Z.:\[\]]+)/metrics")


def _cloudflared_url(lines: list[str], _local: str) -> str | None:
    """From the box that it draws, else from its metrics server. (An error may name api.trycloudflare.com.)"""
    for line in lines:
        found = _QUICK.search(line)
        if found:
            return found[1]
    for line in lines:
        found = _METRICS.search(line)
        if found:
            hostname = _json(f"http://{found[1]}/quicktunnel").get("hostname")
            return f"https://{hostname}" if hostname and isinstance(hostname, str) else None
    return None


PROGRAMS = {
    "ngrok": Program(
        "ngrok",
        "https://ngrok.com/download; then: ngrok config add-authtoken …",
        lambda local: ["http", "--log=stdout", "--log-format=logfmt", local],
        _ngrok_url,
    ),
    "cloudflared": Program(
        "cloudflared",
        "https://developers.cloudflare.com/tunnel/downloads/; no account is needed",
        lambda local: ["tunnel", "--no-autoupdate", "--url", local],
        _cloudflared_url,
    ),
}


class Tunnel:
    """One run of a program. It leads a session of its own: Ctrl-C goes to us alone, who stop it in order."""

    def __init__(self, program: Program, local: str, environ: Mapping[str, str]) -> None:
        path = shutil.which(program.name)
        if path is None:
            raise Failed(f"{program.name} is not installed (it is not on the PATH). Get it from {program.get}.")
        self._program, self._local = program, local
        self._last: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._process = subprocess.Popen(  # noqa: S603 - a program that the user asked for, no shell
            [path, *program.arguments(local)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._lines: list[str] = []  # until the URL is known
        self._known = False
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._last.append(line.rstrip("\n"))
                if not self._known:
                    self._lines.append(line.rstrip("\n"))

    def url(self) -> str:
        """Its public URL, once it has one. Raises ``Failed`` with its last words where it ends or says none."""
        end = time.monotonic() + URL_SECONDS
        while time.monotonic() < end and self.running():
            found = self._program.url_of(list(self._lines), self._local)
            if found is not None:
                self._known, self._lines = True, []
                return found
            time.sleep(_LOOK_SECONDS)
        why = f"said no public URL within {URL_SECONDS:g} s" if self.running() else "ended before it had a public URL"
        raise Failed(f"{self._program.name} {why}. Its last words:\n{self.last_words()}")

    def running(self) -> bool:
        return self._process.poll() is None

    def last_words(self, lines: int = 8) -> str:
        if not self.running():
            self._reader.join(1)
        return "\n".join(list(self._last)[-lines:])

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough. Harmless where it has ended."""
        if self.running():
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def _json(url: str) -> dict[str, Any]:
    """An answer of the program's local API; empty while it gives none."""
    try:
        with _direct.open(url, timeout=_LOCAL_SECONDS) as answer:
            found = json.loads(answer.read(1 << 20))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _port(address: str) -> int | None:
    """The port of ``http://host:port`` or ``host:port``."""
    return urlsplit(address if "://" in address else f"//{address}").port
