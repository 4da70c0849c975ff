"""Processes of this program that ``demo`` starts: a clean environment, logs in a file, and always stopped."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from .environment import surroundings
from .exits import Failed

STOP_SECONDS = 15.0  # the daemon drains; then it is killed
LOG_LINES_SHOWN = 20
_ROOT = Path(__file__).resolve().parents[2]  # where the package is: the child imports the same one


class Child:
    """``tunerd`` with ``arguments``: ``start``, and in any case ``stop``.

    It leads a session of its own: Ctrl-C in a terminal goes to the demo alone, which stops its children in order.
    """

    def __init__(self, name: str, arguments: list[str], folder: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments, self._folder, self._environ = arguments, folder, environ
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-P", "-m", "daemon", *self._arguments],
                env=clean_environment(self._folder) | dict(self._environ),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough. Harmless where it has not started or has ended."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            except BaseException:  # a second Ctrl-C
                self._process.kill()
                raise
        self._process.wait()

    def _read(self, stdout: IO[str]) -> None:
        with stdout:
            for line in stdout:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, beginning: str, within: float) -> str:
        """What follows ``beginning`` on the first line of its output that has it; ``Failed`` after ``within`` s."""
        assert self._process is not None
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise Failed(f"The {self.name} ended before it was ready (exit code {self._process.wait()}).")
            if line.startswith(beginning):
                return line.removeprefix(beginning)
        raise Failed(f"The {self.name} was not ready after {within:g} s.")

    def last_words(self) -> str:
        """The end of its log, for a message about a failure."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        lines = text.splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join((f"--- the end of {self.log}", *lines))


def clean_environment(folder: Path) -> dict[str, str]:
    """An environment in which nothing of the user's is configured; ``folder`` is the home."""
    empty = folder / "tunerd.toml"  # named, so that no configuration of this machine is read
    empty.touch()
    return surroundings() | {"HOME": str(folder), "TUNERD_CONFIG": str(empty), "PYTHONPATH": str(_ROOT)}
