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


@pytest.mark.parametrize("data_dir", ["file/data", "file"])
async def test_a_data_directory_that_cannot_be_made(tmp_path: Path, data_dir: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match=str(tmp_path)):
        async with Store.open(None, tmp_path / data_dir):
            pass
