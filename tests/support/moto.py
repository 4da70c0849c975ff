"""moto's S3 as a process of its own: a mock, beside the real server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_port

START_SECONDS = 90


@contextlib.contextmanager
def running_moto() -> Iterator[str]:
    """Its endpoint URL. It takes any credentials."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tunerd-moto-") as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "LANG": "C.UTF-8",
            "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",  # behind a name of its own the first label is no bucket
        }
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, Path(folder) / "log")
            yield url
        finally:
            process.kill()
            process.wait()


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"moto did not start\n{log.read_text()[-2000:]}")
