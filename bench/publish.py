"""A large result through the whole daemon: downloaded, put into the local folder and into S3, with bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from daemon.core.signature import sign
from daemon.parsing import decode_webhook_secret

from . import servers
from .footprint import resident_mib
from .report import Limit, Table

SIZE = 2 * 1024**3
SMALL = 20 * 1024**2  # through every part of the way once: libraries are loaded, pools are filled
GROWTH_MIB = 64.0
WAIT_SECONDS = 900.0
SAMPLE_SECONDS = 0.05
MIB = 1024**2


def measure(folder: Path, *, progress: Callable[[str], None]) -> tuple[Table, list[Limit]]:
    """Peak memory while 2 GiB go through, against what the daemon had after a small one."""
    file = folder / "output.bin"
    with servers.objects(file) as source:
        settings = {"REPLICATE_BASE_URL": source.url, "REPLICATE_API_TOKEN": "r8_benchmark"}
        with servers.tunerd(folder / "publish", **settings) as running:
            idle = resident_mib(running.pid)
            _configure(running.url, source.url)
            _deliver(running, source, file, SMALL, "small")
            warm = resident_mib(running.pid)
            progress(f"publish: {idle:.0f} MiB idle, {warm:.0f} MiB after a small delivery")
            with _Peak(running.pid) as peak:
                seconds = _deliver(running, source, file, SIZE, "large")
            progress(f"publish: 2 GiB in {seconds:.1f} s, at most {peak.mib:.0f} MiB")
    servers.remove(folder / "publish")
    file.unlink()
    rows = [
        ["idle RSS, MiB", f"{idle:.0f}"],
        ["after a first small delivery (libraries loaded), MiB", f"{warm:.0f}"],
        ["peak during 2 GiB, MiB", f"{peak.mib:.0f}"],
        ["webhook to delivered at both, s", f"{seconds:.1f}"],
        ["MB/s", f"{SIZE / seconds / 1e6:.0f}"],
    ]
    table = Table("2 GiB: download, local folder, S3", ["", ""], rows)
    return table, [Limit("RSS growth during 2 GiB, MiB", peak.mib - warm, at_most=GROWTH_MIB)]


def _configure(url: str, endpoint: str) -> None:
    bucket = {
        "bucket": "bucket",
        "endpoint_url": endpoint,
        "access_key_id": "benchmark",
        "secret_access_key": "benchmark",
    }
    destinations = [{"name": "local", "type": "local"}, {"name": "bucket", "type": "s3", "options": bucket}]
    _call(f"{url}/api/cloud/publishing", {"destinations": destinations}, method="PUT")


def _deliver(running: servers.Running, source: servers.Running, file: Path, size: int, name: str) -> float:
    """Seconds from the final webhook to the last delivery. What arrived is checked."""
    digest = _write(file, size)
    job_id = _complete(running.url, f"{name:a<26}", f"{source.url}/{name}/output.bin")
    begun = time.monotonic()
    while True:
        job = _call(f"{running.url}/api/cloud/jobs/{job_id}")["job"]
        deliveries = job["deliveries"]
        if any(one["status"] == "failed" for one in deliveries) or time.monotonic() - begun > WAIT_SECONDS:
            raise SystemExit(f"not delivered: {deliveries}")
        if deliveries and all(one["status"] == "delivered" for one in deliveries):
            break
        time.sleep(0.1)
    seconds = time.monotonic() - begun
    delivered = running.data / "outputs" / job_id / "output.bin"
    with delivered.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != digest:
            raise SystemExit("the local file is not what was sent")
    if _call(f"{source.url}/counted").get(f"/bucket/{job_id}/output.bin") != size:
        raise SystemExit("the object is not whole")
    return seconds


def _write(file: Path, size: int) -> str:
    """A file of ``size`` bytes that no compression makes smaller; its SHA-256."""
    digest, block = hashlib.sha256(), os.urandom(MIB)
    with file.open("wb") as opened:
        for number in range(size // MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            digest.update(piece)
            opened.write(piece)
    return digest.hexdigest()


def _complete(url: str, ident: str, output: str) -> str:
    body = json.dumps({"id": ident, "status": "succeeded", "model": "acme/trainer", "output": output}).encode()
    timestamp = str(int(time.time()))
    key = decode_webhook_secret(servers.SECRET)
    headers = {
        "webhook-id": f"msg_{ident}",
        "webhook-timestamp": timestamp,
        "webhook-signature": sign(key, f"msg_{ident}", timestamp, body),
    }
    answer = _call(f"{url}/api/webhooks/replicate", body, headers=headers)
    return str(answer["job_id"])


def _call(url: str, body: Any = None, *, method: str | None = None, headers: dict[str, str] | None = None) -> Any:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class _Peak:
    """The most memory that a process has while the block runs."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.mib = max(self.mib, resident_mib(self._pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
