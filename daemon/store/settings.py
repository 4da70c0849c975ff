"""Settings that the API or the UI stored. What the environment or a file pins wins over them (``daemon/config.py``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from secrets import token_hex
from typing import Any

import msgspec
import sqlalchemy as sa

from ..errors import DestinationNotFound
from . import completion
from .database import Database
from .records import DestinationConfig
from .schema import secrets, settings
from .text import storable

_ALL = sa.select(settings.c.key, settings.c.value).order_by(settings.c.key)
_ONE = sa.select(settings.c.value).where(settings.c.key == sa.bindparam("name"))


class StoredSettings:
    """Key to JSON value."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str, default: Any = None) -> Any:
        row = await self._database.first(_ONE, {"name": key})
        return default if row is None else msgspec.json.decode(row.value)

    async def all(self) -> dict[str, Any]:
        return {row.key: msgspec.json.decode(row.value) for row in await self._database.rows(_ALL)}

    async def put(self, values: Mapping[str, Any], *, now: float) -> None:
        """Store them all, or none."""
        rows = [
            {"key": key, "value": storable(msgspec.json.encode(value).decode()), "updated_at": now}
            for key, value in values.items()
        ]

        def transaction(connection: sa.Connection) -> None:
            connection.execute(settings.delete().where(settings.c.key.in_(list(values))))
            if rows:
                connection.execute(settings.insert(), rows)

        await self._database.write(transaction)

    async def delete(self, key: str) -> bool:
        """``False``: it was not stored."""
        statement = settings.delete().where(settings.c.key == key)
        return await self._database.write(lambda connection: connection.execute(statement).rowcount) > 0

    async def put_member(self, key: str, name: str, value: Any, *, now: float) -> bool:
        """Set one member of the object under ``key``, whatever else is changed meanwhile; ``None`` removes it.

        ``False``: there was none of that name.
        """

        def transaction(connection: sa.Connection) -> bool:
            row = connection.execute(_ONE, {"name": key}).first()
            members = {} if row is None else msgspec.json.decode(row.value)
            was_there = name in members
            members = {**members, name: value} if value is not None else {k: members[k] for k in members if k != name}
            connection.execute(settings.delete().where(settings.c.key == key))
            text = storable(msgspec.json.encode(members).decode())
            connection.execute(settings.insert(), {"key": key, "value": text, "updated_at": now})
            return was_there

        return await self._database.write(transaction)

    async def daemon_id(self, now: float) -> str:
        """What this daemon calls itself, with every node on its database; made up at the first use."""
        known = await self.get("daemon_id")
        if not isinstance(known, str):
            known = token_hex(8)
            await self.put({"daemon_id": known}, now=now)
        return known

    async def change_destination(self, name: str, *, now: float, **changes: Any) -> DestinationConfig:
        """Change fields of one destination, whatever else is changed meanwhile. Raises ``DestinationNotFound``."""

        def transaction(connection: sa.Connection) -> DestinationConfig:
            row = connection.execute(_ONE, {"name": "destinations"}).first()
            configured = completion.configured_destinations(None if row is None else row.value)
            found = _named(name, configured)
            changed = msgspec.structs.replace(found, **changes)
            value = msgspec.json.encode([changed if one is found else one for one in configured]).decode()
            connection.execute(settings.delete().where(settings.c.key == "destinations"))
            connection.execute(settings.insert(), {"key": "destinations", "value": value, "updated_at": now})
            return changed

        return await self._database.write(transaction)

    async def replace_destinations(
        self,
        change: Callable[[list[DestinationConfig]], tuple[list[DestinationConfig], Collection[str]]],
        sealed: Sequence[dict[str, Any]],
        *,
        now: float,
    ) -> None:
        """Replace the list and its secrets together, or nothing.

        ``change`` is given the list as it is and gives the new one, with the names of secrets to forget; ``sealed``
        are new secrets (``Secrets.seal``).
        """

        def transaction(connection: sa.Connection) -> None:
            row = connection.execute(_ONE, {"name": "destinations"}).first()
            after, forgotten = change(completion.configured_destinations(None if row is None else row.value))
            names = [*forgotten, *(secret["name"] for secret in sealed)]
            connection.execute(secrets.delete().where(secrets.c.name.in_(names)))
            if sealed:
                connection.execute(secrets.insert(), sealed)
            value = storable(msgspec.json.encode(after).decode())
            connection.execute(settings.delete().where(settings.c.key == "destinations"))
            connection.execute(settings.insert(), {"key": "destinations", "value": value, "updated_at": now})

        await self._database.write(transaction)

    async def destination(self, name: str) -> DestinationConfig:
        """Raises ``DestinationNotFound``."""
        return _named(name, await self.destinations())

    async def destinations(self) -> list[DestinationConfig]:
        """Where finished jobs go; ``[local]`` until something else is stored."""
        row = await self._database.first(_ONE, {"name": "destinations"})
        return completion.configured_destinations(None if row is None else row.value)


def _named(name: str, configured: list[DestinationConfig]) -> DestinationConfig:
    found = next((one for one in configured if one.name == name), None)
    if found is None:
        there = ", ".join(one.name for one in configured) or "none"
        raise DestinationNotFound(f"There is no destination {name!r}; configured: {there}.")
    return found
