"""kill -9 in the middle of a backup, a restore, a prune, a move: what is there is whole, the next try ends well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.errors import BodyPruned, Misconfigured
from daemon.store.care.archive import check_backup, write_backup
from daemon.store.care.move import move
from daemon.store.care.place import Place
from daemon.store.care.restore import restore
from daemon.store.care.tables import TableSum, sums
from daemon.store.care.verify import verify
from daemon.store.store import Store
from tests.store.care.conftest import KEY, OLD, fill, run_job
from tests.support.daemon import clean_environment
from tests.support.events import NOW

ROUNDS = max(2, int(os.environ.get("FAULT_ROUNDS", "8")) // 4)
MISSES = 30  # kills that may come too late before the first one that does not
JOBS, EVENTS = 6, 40  # enough for a run to take some tenths of a second
READY = b"ready\n"

# A process that has imported everything says so; what it does then is what is killed.
CHILD = """
import sys
from pathlib import Path
from daemon.store.care.archive import write_backup
from daemon.store.care.move import move
from daemon.store.care.place import Place
from daemon.store.care.prune import Pruner
from daemon.store.care.restore import restore
import alembic.command, psycopg
what, url, folder, target = sys.argv[1:]
place = Place.of(url or None, Path(folder))
print("ready", flush=True)
sys.stdin.readline()
if what == "backup":
    write_backup(place, Path(target), with_key=True, version="0.test", now={now})
elif what == "restore":
    restore(Path(target), place, now={now})
elif what == "move":
    move(place, Place.of(target, Path(folder)))
else:
    pruner = Pruner(what, before={now}, now={now})
    with place.engine(writing=True) as engine, engine.connect() as connection:
        while True:
            with connection.begin():
                if not pruner.some(connection):
                    break
"""


class Child:
    """One run of ``CHILD``, ended by itself or by SIGKILL."""

    def __init__(self, what: str, place: Place, home: Path, target: str = "", *, now: float = NOW) -> None:
        url = "" if place.file is not None else place.url.render_as_string(hide_password=False)
        code = CHILD.replace("{now}", repr(now))
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, what, url, str(place.data_dir), target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(home),
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == READY, self._process.communicate()[1].decode()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def finish(self) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self.go()
        _, told = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, told.decode()
        return time.monotonic() - began

    def kill_after(self, seconds: float) -> bool:
        """Whether it was still at work."""
        self.go()
        time.sleep(seconds)
        at_work = self._process.poll() is None
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()
        return at_work


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A store with a good deal in it."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return _filled(Place.of(url, tmp_path / "data"), url)


def _filled(place: Place, url: str | None) -> Place:
    async def make() -> None:
        async with Store.open(url, place.data_dir) as store:
            await fill(store)
            for number in range(JOBS):
                await run_job(store, f"job{number}", at=OLD, events=EVENTS)
                name = f"job_job{number}"
                await store.deliveries.update(name, "local", generation=0, now=OLD, status="delivered")

    asyncio.run(make())
    return place


def contents(place: Place) -> dict[str, TableSum]:
    """The sums of all tables, of a store in which nothing is wrong."""
    with place.engine() as engine, engine.connect() as connection:
        report = verify(connection, [KEY])
        assert report.findings == []
        return sums(connection)


def bodies(place: Place) -> dict[str, bytes | None]:
    async def read() -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        url = None if place.file is not None else place.url.render_as_string(hide_password=False)
        async with Store.open(url, place.data_dir) as store:
            for row in await store.journal.events(limit=100_000):
                try:
                    content = await store.journal.body(row.seq)
                    found[row.webhook_id] = content.body if content is not None else None
                except BodyPruned:
                    found[row.webhook_id] = None
        return found

    return asyncio.run(read())


def rounds(make: Callable[[], Child], check: Callable[[], None], longest: float) -> None:
    """Kill it at random moments of its run and look each time. At least one kill has to have hit it at work."""
    chance = random.Random(20261124)
    hits = done = 0
    while done < ROUNDS or not hits:
        assert done < ROUNDS + MISSES, "no kill has hit it at work"
        hit = make().kill_after(chance.uniform(0.0, longest))
        longest *= 1.0 if hit else 0.9  # with everything in the page cache it is quicker than the run that was measured
        hits, done = hits + hit, done + 1
        check()


@pytest.mark.slow
def test_a_killed_backup_is_none_or_a_whole_one(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "backup" / "one"
    target.parent.mkdir()
    before = contents(place)
    seconds = Child("backup", place, tmp_path, str(target)).finish()
    target.unlink()

    def check() -> None:
        if target.exists():
            assert check_backup(target)[0].tables == before
            target.unlink()
        assert contents(place) == before

    rounds(lambda: Child("backup", place, tmp_path, str(target)), check, seconds)
    Child("backup", place, tmp_path, str(target)).finish()
    assert check_backup(target)[0].tables == before


@pytest.mark.slow
def test_a_killed_restore_leaves_the_old_or_the_new_store(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "one.backup"
    new = contents(place)
    write_backup(place, target, with_key=False, version="0.test", now=NOW)
    moment = iter(range(int(NOW), int(NOW) + 10_000))
    url = None if place.file is not None else place.url.render_as_string(hide_password=False)

    async def change() -> None:
        async with Store.open(url, place.data_dir) as store:
            await run_job(store, "later", at=OLD)

    asyncio.run(change())
    old = contents(place)
    seconds = Child("restore", place, tmp_path, str(target), now=next(moment)).finish()

    def check() -> None:
        assert contents(place) in (old, new)

    rounds(lambda: Child("restore", place, tmp_path, str(target), now=next(moment)), check, seconds)
    restore(target, place, now=float(next(moment)))
    assert contents(place) == new


@pytest.mark.slow
@pytest.mark.parametrize("which", ["bodies", "jobs"])
def test_after_a_killed_prune_every_body_that_is_kept_is_whole(place: Place, tmp_path: Path, which: str) -> None:
    before = bodies(place)

    def check() -> None:
        contents(place)  # nothing is wrong
        after = bodies(place)
        assert after.keys() <= before.keys()
        assert all(content is None or content == before[name] for name, content in after.items())
        running = {name for name in before if "_running_" in name}
        assert all(after[name] == before[name] for name in running)

    rounds(lambda: Child(which, place, tmp_path), check, 0.15)
    Child(which, place, tmp_path).finish()
    check()


@pytest.mark.slow
def test_a_killed_move_leaves_the_target_empty_or_complete(place: Place, tmp_path: Path, postgres_cluster) -> None:
    before = contents(place)

    def fresh(number: int) -> str:
        if place.file is not None:
            return str(postgres_cluster.new_database())
        return f"sqlite:///{tmp_path}/to{number}/tunerd.sqlite3"

    seconds = Child("move", place, tmp_path, fresh(0)).finish()
    chance = random.Random(20261124)
    hits = 0
    for number in range(1, ROUNDS + 1):
        url = fresh(number)
        hits += Child("move", place, tmp_path, url).kill_after(chance.uniform(0.0, seconds))
        target = Place.of(url, place.data_dir)
        with contextlib.suppress(Misconfigured):  # it was done already, and is not done twice
            assert move(place, target) == before
        assert contents(target) == before
        assert contents(place) == before
    assert hits
