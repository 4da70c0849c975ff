"""Downloads of 2 GiB from a real nginx beside what people would use by hand: rounds interleaved, medians.

The daemon's figure ends when the file is hashed, synced and has its name. curl only pipes into sha256sum, and aria2c
neither hashes nor syncs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from .download_once import Download
from .report import Limit, Table

BYTES = 2 * 1024**3
_CHUNK = 64 * 1024**2
PER_CONNECTION = "50m"  # bytes a second that the limited server gives each connection

TIMES_CURL = 2.0
OF_ARIA2C = 0.95
STALL_P99_MS = 5.0
STALL_MAX_MS = 50.0
RSS_MIB = 64.0

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{free}; root {folder}/www; }}
    server {{ listen 127.0.0.1:{limited}; root {folder}/www; limit_rate {rate}; }}
}}
"""


def measure(folder: Path, *, rounds: int, progress: Callable[[str], None]) -> tuple[Table, list[Limit]]:
    home = folder / "downloads"
    speeds: dict[str, list[float]] = {}
    ours: list[Download] = []
    if shutil.which("aria2c") is None:
        progress("aria2c is not installed, so its limit is not measured: scripts/system-parts.sh installs it as root")
    with _nginx(home) as (free, limited, digest):
        for number in range(rounds):
            for name, run in _runs(free, limited, home, digest, ours):
                seconds = run()
                speeds.setdefault(name, []).append(BYTES / seconds / 1e6)
                progress(f"round {number + 1} of {rounds}, {name}: {speeds[name][-1]:,.0f} MB/s")
    shutil.rmtree(home)
    return _table(speeds), _limits(speeds, ours)


def _runs(
    free: str, limited: str, home: Path, digest: str, ours: list[Download]
) -> Iterator[tuple[str, Callable[[], float]]]:
    yield "tunerd", lambda: _tunerd(free, home, digest, ours)
    yield "curl | sha256sum", lambda: _curl(free, digest)
    yield f"tunerd, {PER_CONNECTION}/s each", lambda: _tunerd(limited, home, digest, ours)
    if aria2c := shutil.which("aria2c"):
        yield f"aria2c -x8, {PER_CONNECTION}/s each", lambda: _aria2c(aria2c, limited, home)


def _tunerd(url: str, home: Path, digest: str, ours: list[Download]) -> float:
    with _emptied(home / "tunerd") as target:
        command = [sys.executable, "-m", "bench.download_once", url, str(target)]
        found = msgspec.json.decode(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, type=Download)
        if found.sha256 != digest:
            raise SystemExit("tunerd fetched something else")
        ours.append(found)
        return found.seconds


def _curl(url: str, digest: str) -> float:
    begun = time.perf_counter()
    with subprocess.Popen(["curl", "-sS", url], stdout=subprocess.PIPE) as curl:
        summed = subprocess.run(["sha256sum"], stdin=curl.stdout, stdout=subprocess.PIPE, check=True)
    if summed.stdout.split()[0].decode() != digest:
        raise SystemExit("curl fetched something else")
    return time.perf_counter() - begun


def _aria2c(program: str, url: str, home: Path) -> float:
    with _emptied(home / "aria2c") as target:
        begun = time.perf_counter()
        options = ["-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "--no-conf", "-d", str(target)]
        subprocess.run([program, *options, url], check=True)
        return time.perf_counter() - begun


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder of its own; everything that others have written is on disk before the clock starts."""
    folder.mkdir()
    os.sync()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _nginx(home: Path) -> Iterator[tuple[str, str, str]]:
    """URLs of the file on the server without and the one with a limit, and the file's SHA-256."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise SystemExit("nginx is not installed: scripts/system-parts.sh installs it as root")
    (home / "www").mkdir(parents=True)
    digest = _write(home / "www" / "model.tar")
    free, limited = _ports(2)
    config = home / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker is somebody who may not read the file
    config.write_text(_CONFIG.format(folder=home, free=free, limited=limited, rate=PER_CONNECTION, user=user))
    process = subprocess.Popen([program, "-p", str(home), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        for port in (free, limited):
            _wait_for(port, process)
        yield f"http://127.0.0.1:{free}/model.tar", f"http://127.0.0.1:{limited}/model.tar", digest
    finally:
        process.terminate()
        process.wait()


def _write(path: Path) -> str:
    chunk, digest = os.urandom(_CHUNK), hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(BYTES // _CHUNK):
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("nginx did not start")


def _table(speeds: dict[str, list[float]]) -> Table:
    rows = [
        [name, f"{min(found):,.0f}", f"{statistics.median(found):,.0f}", f"{max(found):,.0f}"]
        for name, found in speeds.items()
    ]
    return Table("Download of 2 GiB, MB/s", ["", "least", "median", "most"], rows)


def _limits(speeds: dict[str, list[float]], ours: list[Download]) -> list[Limit]:
    median = {name: statistics.median(found) for name, found in speeds.items()}
    limited = f", {PER_CONNECTION}/s each"
    peer = median.get(f"aria2c -x8{limited}")
    of_peer = median[f"tunerd{limited}"] / peer if peer else None
    return [
        Limit("download: times curl | sha256sum", median["tunerd"] / median["curl | sha256sum"], at_least=TIMES_CURL),
        Limit("download, limited connections: of aria2c -x8", of_peer, at_least=OF_ARIA2C),
        Limit(
            "download: loop stall p99, ms", statistics.median(run.stall_p99_ms for run in ours), at_most=STALL_P99_MS
        ),
        Limit("download: loop stall, longest, ms", max(run.stall_max_ms for run in ours), at_most=STALL_MAX_MS),
        Limit("download: growth of RSS, MiB", max(run.rss_growth_mib for run in ours), at_most=RSS_MIB),
    ]
