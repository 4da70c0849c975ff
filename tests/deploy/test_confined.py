"""The daemon under the restrictions of tunerd.service: a whole job, from submit to its files.

No systemd runs here that could start the unit, so bubblewrap stands in for it: read-only root, empty home and temporary
folders, own devices, process tree and user namespace, no capabilities, no new privileges, and the unit's system call
restrictions compiled from its own text (tests/support/seccomp.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from daemon.sandbox import Sandbox
from tests.conftest import system_program
from tests.support.notify import Manager, service_manager
from tests.support.seccomp import allowed_calls, programs

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "tunerd.service"
BACKUP_UNIT = UNIT.with_name("tunerd-backup.service")
STATE = "/var/lib/tunerd"
USER = "61184"  # the first of systemd's dynamic users
# What ProcSubset=pid hides, as far as a program may miss it.
HIDDEN_FILES = ("/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version")
WAIT_SECONDS = 100

ATTEMPTS = """
import ctypes, errno, mmap, os, socket
def refused(name, attempt, *codes):
    try:
        attempt()
    except OSError as problem:
        assert problem.errno in codes, (name, problem)
    else:
        raise SystemExit(f"{name} was possible")
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
refused("write to /etc", lambda: open("/etc/x", "w"), errno.EROFS, errno.EACCES)
refused("chown", lambda: os.chown("/var/lib/tunerd", 0, 0), errno.EPERM)
refused("unshare", lambda: call("unshare", 0x10000000), errno.EPERM)
refused("mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None), errno.EPERM)
refused("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), errno.EAFNOSUPPORT)
refused("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), errno.EAFNOSUPPORT)
refused("writable code", lambda: mmap.mmap(-1, 4096, prot=7), errno.EPERM)
refused("set-user-id", lambda: os.chmod("/var/lib/tunerd", 0o4700), errno.EPERM)
refused("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, 5), errno.EPERM)
assert os.listdir("/home") == [] and os.getuid() == 61184
open("/var/lib/tunerd/x", "w").close()
print("confined")
"""


@dataclass
class Confined:
    """Runs programs as the unit would."""

    folder: Path
    filters: list[bytes]

    async def start(self, *command: str, **variables: str) -> tuple[asyncio.subprocess.Process, int]:
        """The process of bwrap, and the number of the program inside it."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile()) for _ in self.filters]
            for file, content in zip(files, self.filters, strict=True):
                file.write(content)
                file.seek(0)
            readable, writable = os.pipe()
            stack.callback(os.close, readable)
            seccomp = [part for file in files for part in ("--add-seccomp-fd", str(file.fileno()))]
            process = await asyncio.create_subprocess_exec(
                *(system_program("bwrap"), *self._mounts(), *seccomp, "--info-fd", str(writable), *command),
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **variables},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[file.fileno() for file in files] + [writable],
                limit=1 << 24,
            )
            os.close(writable)
            info = b""
            while b"}" not in info and (more := await asyncio.to_thread(os.read, readable, 4096)):
                info += more
        return process, int(json.loads(info)["child-pid"]) if info else 0

    def _mounts(self) -> list[str]:
        hidden = ("/tmp", "/var/tmp", "/home", "/root", "/run", "/var/lib")
        program = dict.fromkeys((str(ROOT), os.path.realpath(sys.base_prefix), sys.prefix))
        return [
            *(
                "--die-with-parent",
                "--as-pid-1",
                "--new-session",
                "--unshare-user",
                "--unshare-pid",
                "--unshare-ipc",
                "--unshare-uts",
            ),
            *("--uid", USER, "--gid", USER, "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev"),
            *("--proc", "/proc"),
            *(part for name in HIDDEN_FILES for part in ("--ro-bind", "/dev/null", name)),
            *("--tmpfs", "/proc/sys"),
            *(part for name in hidden if Path(name).is_dir() for part in ("--tmpfs", name)),
            *(part for name in program for part in ("--ro-bind", name, name)),
            *("--bind", str(self.folder / "state"), STATE),
            *("--bind", str(self.folder / "notify"), "/run/systemd/notify"),
            *("--ro-bind", str(self.folder / "credentials"), "/run/credentials/tunerd.service"),
            *("--chdir", "/"),
        ]


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with service_manager(tmp_path / "notify") as running:
        yield running


@pytest.fixture
def confined(tmp_path: Path, manager: Manager) -> Confined:
    (tmp_path / "state" / "backups").mkdir(parents=True)  # as StateDirectory= makes them
    (tmp_path / "credentials").mkdir()
    return Confined(tmp_path, programs(UNIT))


def test_the_filter_is_that_of_the_unit() -> None:
    allowed = allowed_calls(UNIT.read_text())
    assert {"read", "openat", "accept4", "epoll_wait", "fdatasync", "clone3"} <= allowed
    assert not {"chown", "mount", "bpf", "ptrace", "setuid", "reboot", "sched_setaffinity", "keyctl_x"} & allowed


async def test_the_restrictions_hold(confined: Confined) -> None:
    process, _ = await confined.start(sys.executable, "-c", ATTEMPTS)
    out, err = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert (process.returncode, out) == (0, b"confined\n"), err.decode()


async def test_a_job_from_submit_to_its_files(confined: Confined, manager: Manager, tmp_path: Path) -> None:
    async with Sandbox(speed=20) as sandbox, aiohttp.ClientSession() as session:
        (tmp_path / "credentials" / "tunerd.replicate_api_token").write_text(sandbox.api_token + "\n")
        (tmp_path / "credentials" / "tunerd.admin_token").write_text("admin-secret\n")
        (tmp_path / "credentials" / "tunerd.key").write_text("a key of the service manager's\n")
        process, pid = await confined.start(
            *(sys.executable, "-P", "-m", "daemon", "serve"),
            PYTHONPATH=str(ROOT),
            HOME="/",
            STATE_DIRECTORY=f"{STATE}:{STATE}/backups",
            CREDENTIALS_DIRECTORY="/run/credentials/tunerd.service",
            NOTIFY_SOCKET="/run/systemd/notify",
            WATCHDOG_USEC="60000000",
            TUNERD_OUTPUT_DIR=f"{STATE}/outputs",
            TUNERD_LISTEN="127.0.0.1:0",
            TUNERD_RECONCILE_SECONDS="1",
            REPLICATE_BASE_URL=sandbox.url,
        )
        assert process.stdout is not None
        reading = asyncio.create_task(process.stderr.read()) if process.stderr is not None else None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), WAIT_SECONDS)).decode()
            found = re.search(r"ready on (http://\S+)", line)
            assert found is not None, (await reading).decode()[-3000:] if reading else line
            url = found[1]
            await manager.told("READY=1")
            await manager.told("WATCHDOG=1")
            wanted = {"model": "acme/shapes", "input": {"output": ["file:a.bin:300000"], "steps": 5}}
            async with session.post(url + "/api/cloud/jobs/submit", json=wanted) as answer:
                submitted = await answer.json()
                assert answer.status == 201, submitted
            await delivered(session, f"{url}/api/cloud/jobs/{submitted['job_id']}")
            files = tmp_path / "state" / "outputs" / submitted["job_id"]
            assert {path.name for path in files.iterdir()} == {"a.bin", "manifest.json"}
            async with session.get(url + "/api/cloud/providers/replicate") as answer:
                assert (await answer.json())["token"]["configured"] is True
            foreign = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer admin-secret"}
            async with session.get(url + "/api/cloud/jobs", headers=foreign) as answer:
                assert answer.status == 200
            assert not (tmp_path / "state" / "secret.key").exists()  # the credential is used instead
            await backed_up(confined)
            assert len(list((tmp_path / "state" / "backups").iterdir())) == 1
            os.kill(pid, signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
            await manager.told("STOPPING=1")
        finally:
            if process.returncode is None:
                process.kill()
            log = await reading if reading else b""
            await process.wait()
        assert b"EPERM" not in log and b"Operation not permitted" not in log, log.decode()[-3000:]


async def backed_up(confined: Confined) -> None:
    """What tunerd-backup.service starts, under its restrictions, beside the running daemon."""
    assert programs(BACKUP_UNIT) == confined.filters
    command = re.findall(r"^ExecStart=\S+/tunerd (.+)$", BACKUP_UNIT.read_text(), re.MULTILINE)[0].split()
    process, _ = await confined.start(
        *(sys.executable, "-P", "-m", "daemon", *command),
        PYTHONPATH=str(ROOT),
        HOME="/",
        STATE_DIRECTORY=f"{STATE}:{STATE}/backups",
        CREDENTIALS_DIRECTORY="/run/credentials/tunerd.service",
    )
    out, err = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert process.returncode == 0, (out, err)


async def delivered(session: aiohttp.ClientSession, address: str) -> None:
    for _ in range(WAIT_SECONDS * 5):
        async with session.get(address) as answer:
            job = (await answer.json())["job"]
        if job["deliveries"] and all(one["status"] == "delivered" for one in job["deliveries"]):
            return
        assert job["status"] not in {"failed", "cancelled"}, job
        await asyncio.sleep(0.2)
    raise AssertionError(job)
