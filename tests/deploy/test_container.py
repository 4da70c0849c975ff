"""The Containerfile, as far as it can be checked without an engine: its steps, the daemon under its restrictions."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

from daemon.config import _options, load_settings
from tests.conftest import skip_or_fail, system_program
from tests.support.daemon import clean_environment, running_daemon

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
UID = 10001


def instructions() -> list[tuple[str, str]]:
    """Word and arguments of each instruction, lines joined."""
    lines = [line for line in TEXT.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


def only(word: str) -> str:
    """The last instruction of that name: the one that counts."""
    return [rest for name, rest in instructions() if name == word][-1]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(only("ENV")))


def test_only_known_instructions_and_two_stages() -> None:
    words = [word for word, _ in instructions()]
    assert set(words) <= {
        *("ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "VOLUME", "EXPOSE"),
        *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    assert words.count("FROM") == 2
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", TEXT, re.MULTILINE)
    assert base and re.fullmatch(r"python:3\.1[1-9]-slim-\w+", base[1]), "a fixed release, never latest"


def test_it_copies_what_is_there_and_what_the_ignore_file_lets_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                copied.add(source)
    assert copied == allowed


def test_it_installs_as_the_readme_does() -> None:
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")
    for step in (
        "-m venv /opt/tunerd",
        "pip install --require-hashes --no-deps -r constraints.txt",
        "pip install --no-deps --no-build-isolation .",
    ):
        assert step in runs
        assert step in (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_runs_as_nobody_in_particular_and_says_what_it_needs() -> None:
    assert only("USER") == f"{UID}:{UID}"
    volume = Path(only("VOLUME"))
    variables = environment()
    assert variables["PATH"].startswith("/opt/tunerd/bin")
    settings = load_settings(environ=variables)  # refuses a variable that is none
    assert settings.data_dir.is_relative_to(volume) and settings.output_dir.is_relative_to(volume)
    assert Path(variables["HOME"]) == volume
    assert only("EXPOSE") == variables["TUNERD_LISTEN"].rpartition(":")[2]
    known = {option.variable for option in _options({}).values()}
    assert {name for name in variables if name.startswith("TUNERD_")} <= known
    assert json.loads(only("ENTRYPOINT")) == ["tunerd"] and json.loads(only("CMD")) == ["serve"]


async def healthy(url: str) -> bool:
    """What the health check says of ``url``."""
    command = json.loads(only("HEALTHCHECK").partition(" CMD ")[2])
    command = [sys.executable, *(word.replace("http://127.0.0.1:8080", url) for word in command[1:])]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0


async def test_the_health_check_tells_a_daemon_from_nothing(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        assert await healthy(daemon.url)
    assert not await healthy(daemon.url)


async def test_the_daemon_runs_under_the_same_restrictions(tmp_path: Path) -> None:
    """A root that cannot be written, another user, no capability: the daemon starts, answers, and stops in order."""
    bwrap = system_program("bwrap")
    volume = tmp_path / "volume"
    volume.mkdir()
    variables = environment() | {"TUNERD_LISTEN": "127.0.0.1:0", "PATH": "/usr/bin:/bin"}
    given = [word for name, value in variables.items() for word in ("--setenv", name, value)]
    restricted = [
        *(bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/var/lib"),
        *("--ro-bind", str(ROOT), str(ROOT), "--ro-bind", sys.prefix, sys.prefix),
        *("--bind", str(volume), "/var/lib/tunerd", "--remount-ro", "/var/lib", "--chdir", "/var/lib/tunerd"),
        *("--unshare-user", "--uid", str(UID), "--gid", str(UID), "--cap-drop", "ALL", "--die-with-parent"),
        *("--clearenv", *given),
    ]
    probe = await asyncio.create_subprocess_exec(*restricted, "true", stderr=asyncio.subprocess.PIPE)
    _, why = await probe.communicate()
    if probe.returncode != 0:
        skip_or_fail(f"no namespaces of users here: {why.decode()}")
    process = await asyncio.create_subprocess_exec(
        *(*restricted, "--setenv", "PYTHONPATH", str(ROOT), sys.executable, "-m", "daemon", "serve"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(tmp_path),
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        if not line:
            pytest.fail((await process.stderr.read()).decode())
        assert await healthy(line.split()[-1])
        (inside,) = _children(process.pid)
        status = _status(inside)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE), status
        os.kill(inside, signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0, (await process.stderr.read()).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (volume / "data/tunerd.sqlite3").exists()


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text(encoding="utf-8")


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
