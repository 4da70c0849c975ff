"""OpenStack Swift with its s3api: a real S3 server of four processes on loopback, one replica, one folder.

Access key ``test:tester``, secret ``testing``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.ports import free_ports

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
START_SECONDS = 90  # four processes on a busy machine
KINDS = ("account", "container", "object")

# Without these sections it would look for a syslog, for memcached, for more devices.
SERVER = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
devices = {devices}
mount_check = false
workers = 0
user = {user}
swift_dir = {folder}
log_address =
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[{kind}-replicator]
"""
PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_address =
[pipeline:main]
pipeline = catch_errors proxy-logging cache bulk s3api tempauth slo proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""
# What swift-ring-builder does in nine processes: 2^4 partitions, one replica, one device.
RINGS = """
import sys
from swift.common.ring import RingBuilder
for path, port in zip(sys.argv[1::2], sys.argv[2::2]):
    builder = RingBuilder(4, 1, 1)
    device = {"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1}
    builder.add_dev(device)
    builder.rebalance(seed=1)
    builder.get_ring().save(path)
"""


class SwiftMissing(Exception):
    """Why it cannot run here."""


@contextlib.contextmanager
def running_swift() -> Iterator[str]:
    """Its endpoint URL."""
    if importlib.util.find_spec("swift") is None:
        raise SwiftMissing("swift is not installed in this environment")
    with tempfile.TemporaryDirectory(prefix="tunerd-swift-") as name:
        folder = Path(name)
        _check_xattrs(folder)
        ports = dict(zip((*KINDS, "proxy"), free_ports(4), strict=True))
        _configure(folder, ports)
        with contextlib.ExitStack() as stack:
            for kind in (*KINDS, "proxy"):
                stack.enter_context(_server(folder, kind))
            url = f"http://127.0.0.1:{ports['proxy']}"
            _wait(url, folder)
            yield url


def _check_xattrs(folder: Path) -> None:
    """It keeps an object's metadata in extended attributes, which not every file system has."""
    probe = folder / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.tunerd", b"x" * 200)
    except OSError as problem:
        raise SwiftMissing(f"{folder}: no extended attributes ({problem.strerror}), which Swift needs") from None
    probe.unlink()


def _configure(folder: Path, ports: dict[str, int]) -> None:
    devices, user = folder / "devices", pwd.getpwuid(os.getuid()).pw_name
    (devices / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = tunerd\nswift_hash_path_suffix = tests\n"
        "[storage-policy:0]\nname = gold\npolicy_type = replication\ndefault = yes\n"
    )
    rings = [argument for kind in KINDS for argument in (str(folder / f"{kind}.ring.gz"), str(ports[kind]))]
    subprocess.run([sys.executable, "-W", "ignore", "-c", RINGS, *rings], check=True, timeout=START_SECONDS)
    for kind in KINDS:
        text = SERVER.format(kind=kind, port=ports[kind], devices=devices, user=user, folder=folder)
        (folder / f"{kind}.conf").write_text(text)
    (folder / "proxy.conf").write_text(PROXY.format(port=ports["proxy"], user=user, folder=folder))


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@contextlib.contextmanager
def _server(folder: Path, kind: str) -> Iterator[None]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SWIFT_DIR": str(folder), "LANG": "C.UTF-8"}
    command = [sys.executable, "-W", "ignore", _program(f"swift-{kind}-server"), str(folder / f"{kind}.conf")]
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/", timeout=5)
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.1)
        else:
            return
    logs = "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in folder.glob("*.log"))
    raise AssertionError(f"Swift did not start\n{logs}")
