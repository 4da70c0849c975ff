"""One daemon for one embedded database; the next one is told which process has it."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from daemon.errors import DatabaseInUse, Misconfigured
from daemon.store.store import Store

_HOLD = """if True:
    import asyncio, pathlib, sys
    from daemon.store.store import Store
    async def main():
        async with Store.open(None, pathlib.Path(sys.argv[1])):
            print("open", flush=True)
            await asyncio.sleep(60)
    asyncio.run(main())
"""


async def test_a_second_daemon_is_told_who_has_it(tmp_path: Path) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert other.stdout is not None and await other.stdout.readline() == b"open\n"
        with pytest.raises(DatabaseInUse, match=rf"process {other.pid}\b"):
            async with Store.open(None, tmp_path):
                pass
        other.kill()
        await other.wait()
        async with Store.open(None, tmp_path) as store:  # its death released it
            await store.ping()
    finally:
        if other.returncode is None:
            other.kill()
            await other.wait()


async def test_one_file_under_two_data_directories(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.sqlite3"
    async with Store.open(url, tmp_path / "a"):
        with pytest.raises(DatabaseInUse, match=rf"process {os.getpid()}\b"):
            async with Store.open(url, tmp_path / "b"):
                pass
    async with Store.open(url, tmp_path / "b"):
        pass


async def test_files_are_private(tmp_path: Path) -> None:
    data_dir = tmp_path / "deep" / "data"
    async with Store.open(None, data_dir) as store:
        await store.ping()
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"tunerd.sqlite3", "tunerd.sqlite3-wal", "tunerd.lock"} <= modes.keys()


def _modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.glob("**/*")}


async def test_what_was_open_to_others_is_closed_at_the_start(tmp_path: Path) -> None:
    for name, others in (("ours", 0o755), ("empty", 0o755), ("theirs", 0o755), ("shared", 0o1777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(others)
    for name in ("ours", "shared"):
        for file in ("tunerd.lock", "ip-ranges.json"):
            (tmp_path / name / file).touch()
            (tmp_path / name / file).chmod(0o644)
    (tmp_path / "theirs/notes").touch()
    (tmp_path / "theirs/notes").chmod(0o644)
    for name in ("ours", "empty", "theirs", "theirs", "shared"):  # the second time a lock of ours is there
        async with Store.open(None, tmp_path / name):
            pass
    modes = _modes(tmp_path)
    assert (modes["ours"], modes["ours/ip-ranges.json"], modes["empty"]) == (0o700, 0o600, 0o700)
    assert (modes["theirs"], modes["theirs/notes"]) == (0o755, 0o644)
    assert (modes["shared"], modes["shared/ip-ranges.json"]) == (0o1777, 0o644)
    assert {mode for name, mode in modes.items() if name.endswith(".sqlite3")} == {0o600}


@pytest.mark.parametrize("data_dir", ["file/data", "file"])
async def test_a_data_directory_that_cannot_be_made(tmp_path: Path, data_dir: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match=str(tmp_path)):
        async with Store.open(None, tmp_path / data_dir):
            pass
