"""A private PostgreSQL cluster: made in a temporary folder, on a free port, gone at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from daemon.store.database import database_url
from tests.support.empty import migrated
from tests.support.ports import free_port

START_SECONDS = 60.0
STOP_SECONDS = 20.0
USER = "tunerd"
# What of a database is not rows: columns, indexes, settings of its own, and its revision.
_SHAPE = """
SELECT table_schema || '.' || table_name, column_name || ' ' || data_type || ' ' || is_nullable, column_default
FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
UNION ALL SELECT schemaname || '.' || tablename, indexdef, NULL FROM pg_indexes WHERE schemaname <> 'pg_catalog'
UNION ALL SELECT 'settings', setconfig::text, NULL FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'revision', version_num, NULL FROM alembic_version
ORDER BY 1, 2, 3
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
"""
_TABLES = """
SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""


class PostgresMissing(Exception):
    """No initdb on this machine."""


def binaries() -> Path:
    """The folder of the newest initdb and postgres here; Debian keeps them off PATH. Raises ``PostgresMissing``."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = installed[-1] if installed else shutil.which("initdb")
    if not found:
        raise PostgresMissing("PostgreSQL is not installed (no initdb): scripts/system-parts.sh installs it as root")
    return Path(found).resolve().parent


class Cluster:
    """A running server. Each ``new_database()`` is empty and of its own."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self.password = password
        self._spare: str | None = None  # of the databases that are lent; a test has one at a time
        self._shape: list[tuple[object, ...]] = []

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a fresh database."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    @contextlib.contextmanager
    def migrated_database(self) -> Iterator[str]:
        """The URL of one at the newest revision, without a row. It is emptied and lent again: making one takes longer.

        One that a test has changed otherwise, or is still connected to, is not lent again.
        """
        if self._spare is None:
            url = self.new_database()
            migrated(database_url(url, Path()))
            with psycopg.connect(url) as connection:
                self._shape = connection.execute(_SHAPE).fetchall()
        else:
            url, self._spare = self._spare, None
        yield url
        with contextlib.suppress(psycopg.Error), psycopg.connect(url) as connection:
            alone = connection.execute(_OTHERS).fetchone() == (0,)
            if alone and connection.execute(_SHAPE).fetchall() == self._shape:
                tables = connection.execute(_TABLES).fetchone()
                connection.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY".encode())  # type: ignore[index]
                self._spare = url


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Make, start and remove a cluster. Raises ``PostgresMissing``."""
    programs = binaries()
    folder = Path(tempfile.mkdtemp(prefix="tunerd-pg-"))
    who = _unprivileged()  # the server refuses to run as root
    try:
        password = secrets.token_hex(16)
        password_file = folder / "password"
        password_file.write_text(password)
        for path in (folder, password_file):
            os.chown(path, *(who or (os.getuid(), os.getgid())))
        data = folder / "data"
        authentication = ["--auth=scram-sha-256", f"--pwfile={password_file}", f"--username={USER}"]
        _run([programs / "initdb", "-D", data, *authentication, "-E", "UTF8", "--locale=C", "--no-sync"], folder, who)
        port = free_port()
        with _server([programs / "postgres", "-D", data, *_options(port, folder)], folder, who):
            cluster = Cluster(port, password)
            _wait(cluster, folder)
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options(port: int, folder: Path) -> list[str]:
    given = {
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "fsync": "off",  # the folder does not outlive the run
        "full_page_writes": "off",
        "max_connections": "200",
    }
    return [argument for key, value in given.items() for argument in ("-c", f"{key}={value}")]


def _unprivileged() -> tuple[int, int] | None:
    """(uid, gid) to drop to; ``None`` where we are not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def _identity(who: tuple[int, int] | None) -> dict[str, object]:
    return {} if who is None else {"user": who[0], "group": who[1], "extra_groups": []}


def _run(command: list[object], folder: Path, who: tuple[int, int] | None) -> None:
    arguments = [str(part) for part in command]
    subprocess.run(arguments, cwd=folder, stdout=subprocess.DEVNULL, check=True, **_identity(who))  # type: ignore[call-overload]


@contextlib.contextmanager
def _server(command: list[object], folder: Path, who: tuple[int, int] | None) -> Iterator[None]:
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(  # type: ignore[call-overload]
            [str(part) for part in command], cwd=folder, stdout=log, stderr=log, **_identity(who)
        )
    try:
        yield
    finally:
        process.send_signal(2)  # SIGINT: "fast shutdown"
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(cluster: Cluster, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(cluster.url("postgres"), connect_timeout=5).close()
            return
        except psycopg.OperationalError as problem:
            if time.monotonic() > deadline:
                raise AssertionError(f"{problem}\n{(folder / 'server.log').read_text()}") from None
            time.sleep(0.1)
