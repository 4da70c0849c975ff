"""Secrets, encrypted at rest: ciphertext in the database, the key outside it.

The key is the service manager's (a systemd credential), or a file of mode 0600 beside the database, made with the
first secret. Several keys, one a line, are a rotation: the first encrypts, all decrypt.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets as randomness
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..errors import Misconfigured, NotReady
from ..files import sync_directory
from .database import Database
from .schema import secrets

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_ONE = sa.select(secrets.c.ciphertext).where(secrets.c.name == sa.bindparam("name"))


def endpoint_url(endpoint: str) -> str:
    """Under which name a notification endpoint's URL is kept: chat services put a credential into it."""
    return f"notification:{endpoint}:url"


def endpoint_secret(endpoint: str) -> str:
    """Under which name a notification endpoint's signing secret is kept."""
    return f"notification:{endpoint}:secret"


def destination_secret(destination: str, option: str) -> str:
    """Under which name a destination's secret option is kept."""
    return f"destination:{destination}:{option}"


class Secrets:
    def __init__(self, database: Database, data_dir: Path, secret_key: bytes | None) -> None:
        self._database = database
        self._path = data_dir / "secret.key"
        self._given = secret_key
        self._cipher: MultiFernet | None = None

    async def get(self, name: str) -> str | None:
        """The secret, ``None`` if none is stored. Raises ``NotReady`` where it cannot be decrypted."""
        row = await self._database.first(_ONE, {"name": name})
        if row is None:
            return None
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - see _cipher

        try:
            return self._load(create=False).decrypt(bytes(row.ciphertext)).decode()
        except (InvalidToken, FileNotFoundError, UnicodeDecodeError):
            where = "the key that was passed in" if self._given is not None else str(self._path)
            raise NotReady(
                f"The stored secret {name!r} cannot be decrypted with {where}: the key is another one, missing or "
                "damaged. Put the right key back, or store the secret again (for the API token: `tunerd token set`)."
            ) from None

    async def destination(self, destination: str, option: str) -> str | None:
        """A destination's secret option."""
        return await self.get(destination_secret(destination, option))

    async def put(self, name: str, value: str, *, now: float) -> None:
        row = self.seal(name, value, now=now)

        def transaction(connection: sa.Connection) -> None:
            connection.execute(secrets.delete().where(secrets.c.name == name))
            connection.execute(secrets.insert(), row)

        await self._database.write(transaction)

    def seal(self, name: str, value: str, *, now: float) -> dict[str, Any]:
        """The row of a secret, for a transaction that writes more than this."""
        return {"name": name, "ciphertext": self._load(create=True).encrypt(value.encode()), "updated_at": now}

    async def names(self, prefix: str, *, before: float) -> list[str]:
        """The names that begin so, of secrets that were stored before that unix time."""
        wanted = sa.select(secrets.c.name).where(
            secrets.c.name.startswith(prefix, autoescape=True), secrets.c.updated_at < before
        )
        return [row.name for row in await self._database.rows(wanted)]

    async def delete(self, name: str) -> bool:
        """``False``: none was stored."""
        statement = secrets.delete().where(secrets.c.name == name)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount) > 0

    def _load(self, *, create: bool) -> MultiFernet:
        if self._cipher is None:
            given = self._given if self._given is not None else read_key(self._path, create=create)
            self._cipher = _cipher(given, "The key passed in" if self._given is not None else str(self._path))
        return self._cipher


def read_key(path: Path, *, create: bool) -> bytes:
    """The key file's content. Where it is missing: made if ``create``, else ``FileNotFoundError``."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if not create:
            raise
    except OSError as problem:
        raise Misconfigured(f"{path}: the key file cannot be read: {problem.strerror}.") from None
    # Made whole under another name and linked into place: never half a key, never over a key that is there.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, base64.urlsafe_b64encode(randomness.token_bytes(32)) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_directory(path.parent)
    return path.read_bytes()


def _cipher(keys: bytes, source: str) -> MultiFernet:
    # 20 ms and 6 MB that a start without secrets does not pay.
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415

    try:
        return MultiFernet([Fernet(key) for key in keys.split()])
    except ValueError:
        raise NotReady(
            f"{source} is not a Fernet key (44 characters of URL-safe base64 a line). Put the right file back, or "
            "make one with: head -c 32 /dev/urandom | base64 | tr +/ -_"
        ) from None
