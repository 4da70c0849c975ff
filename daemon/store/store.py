"""The store of one process: journal, jobs, deliveries, settings, secrets over one database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import sqlalchemy as sa

from ..errors import Misconfigured, NotReady
from ..metrics import Metrics
from . import lock
from .arrivals import Arrivals
from .care.housekeeping import Housekeeper
from .care.prune import PruneClass
from .checkpoint import checkpoints
from .claims import RELEASE_ALL, Claims
from .database import RETRY_AFTER, Database, database_url, shown
from .dead_letters import DeadLetters
from .deliveries import Deliveries
from .job_search import JobSearches
from .jobs import Jobs
from .journal import Journal
from .migrate import migrate
from .notifications import RELEASE_ALL as RELEASE_NOTIFICATIONS
from .notifications import Notifications
from .overview import Overview, read_overview
from .private import make_file, make_private
from .secrets import Secrets
from .sessions import Sessions
from .settings import StoredSettings
from .sole import Sole
from .spending import Spending
from .timeline import Timeline
from .wakeups import Wakeups

PING_SECONDS = 5.0  # a disk that takes longer is not one to promise anything on

# Writes a page without changing anything: what "is the store writable?" comes down to.
_PROBE = sa.text("UPDATE alembic_version SET version_num = version_num")


class Store:
    """Everything that is kept. Made by ``Store.open``."""

    def __init__(self, database: Database, journal: Journal, data_dir: Path, secret_key: bytes | None) -> None:
        self._database = database
        self.journal = journal
        self.jobs = Jobs(database, journal.notify)
        self.arrivals = Arrivals(database)
        self.timeline = Timeline(database)
        self.job_searches = JobSearches(database)
        self.claims = Claims(database)
        self.deliveries = Deliveries(database, journal.notify)
        self.dead_letters = DeadLetters(database, journal.notify)
        self.notifications = Notifications(database, journal.notify)
        self.spending = Spending(database)
        self.sessions = Sessions(database)
        self.settings = StoredSettings(database)
        self.sole = Sole(database, data_dir)
        self.secrets = Secrets(database, data_dir, secret_key)

    def housekeeper(self, keep: Mapping[PruneClass, float], now: Callable[[], float]) -> Housekeeper:
        """Prunes what is older than so many days, by class, once a day."""
        return Housekeeper(self._database, keep, now)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, url: str | None, data_dir: Path, *, secret_key: bytes | None = None, metrics: Metrics | None = None
    ) -> AsyncIterator[Store]:
        """Lock, migrate and open the database; ``url`` ``None`` is SQLite in ``data_dir``. Closing writes what waits.

        ``secret_key``: what the service manager passed in to encrypt secrets with; else it is kept in ``data_dir``.
        Raises ``DatabaseInUse``, ``DatabaseTooNew``, ``Misconfigured`` (a directory or file that cannot be used) or
        ``NotReady`` (the database server does not answer).
        """
        where = database_url(url, data_dir)
        make_private(data_dir)
        async with contextlib.AsyncExitStack() as stack:
            if where.drivername == "sqlite":
                _lock_embedded(stack, where, data_dir)
            database = await stack.enter_async_context(Database.open(where))
            await migrate(database)
            if where.drivername == "sqlite":  # ours alone: whoever had claimed something is gone
                await database.write(_release_all)
            journal = await stack.enter_async_context(Journal.open(database, Wakeups(), metrics or Metrics()))
            await stack.enter_async_context(checkpoints(database))
            store = cls(database, journal, data_dir, secret_key)
            stack.callback(store.sole.close)
            yield store

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``: to be told, not to be decided by."""
        return "sqlite" if self._database.embedded else "postgresql"

    async def overview(self) -> Overview:
        """The figures of a dashboard. Raises ``NotReady`` where the store cannot be read."""
        return await read_overview(self._database)

    async def ping(self) -> None:
        """Write something. Raises ``NotReady`` where that fails."""
        if self.journal.writer.done():
            raise NotReady("The journal's writer has stopped.", retry_after=RETRY_AFTER)
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._database.write(lambda connection: connection.execute(_PROBE))
        except TimeoutError:
            raise NotReady(f"The store did not answer within {PING_SECONDS:g} s.", retry_after=RETRY_AFTER) from None

    async def wait_failed(self) -> None:
        """Wait for as long as the store works. Raises what ended the journal's writer, should it end by itself."""
        await asyncio.wait([self.journal.writer])
        if not self.journal.closing:
            raise NotReady("The journal's writer has stopped.") from _reason(self.journal.writer)
        await asyncio.Event().wait()  # stopping in good order is no failure; whoever waits is being cancelled


def refuse_held(url: str | None, data_dir: Path) -> None:
    """Raise ``DatabaseInUse``, naming the process, where another one has this embedded database open."""
    where = database_url(url, data_dir)
    if where.drivername == "sqlite":
        lock.refuse_held(Path(str(where.database)), data_dir, shown(where))


def _release_all(connection: sa.Connection) -> None:
    for statement in (RELEASE_ALL, RELEASE_NOTIFICATIONS):
        connection.execute(statement)


def _reason(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _lock_embedded(stack: contextlib.AsyncExitStack, url: sa.URL, data_dir: Path) -> None:
    """One daemon for a data directory, and for a database file wherever it is."""
    database = Path(str(url.database))
    stack.enter_context(lock.embedded_lock(database, data_dir, shown(url)))
    try:
        make_file(database)
    except OSError as problem:
        raise Misconfigured(f"{database}: the database cannot be opened: {problem.strerror}.") from None
