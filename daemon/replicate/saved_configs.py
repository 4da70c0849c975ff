"""Configurations kept under a name, which a submit's ``config_name`` takes. In the store's settings, in plain text."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..errors import ConfigInvalid, InvalidRequest, NotFound
from ..store.settings import StoredSettings
from .dataset.dataloader import read_dataloader
from .outgoing import redacted
from .training_config import training_config

_KEY = "configs"  # in the stored settings: name → {config, dataloader_config}
_NAME = re.compile(r"[^\W_][\w .+-]{0,99}")


class SavedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SimpleTuner's ``config.json``, and its data where they belong to it."""

    config: dict[str, Any]
    dataloader_config: list[dict[str, Any]] | None = None


class SavedConfigs:
    """``now`` is an argument: unix seconds."""

    def __init__(self, stored: StoredSettings) -> None:
        self._stored = stored

    async def all(self) -> dict[str, SavedConfig]:
        """By name, in its order."""
        found = await self._stored.get(_KEY, {})
        return {name: msgspec.convert(found[name], SavedConfig) for name in sorted(found)}

    async def get(self, name: str) -> SavedConfig:
        """Raises ``NotFound``."""
        found = (await self.all()).get(name)
        if found is None:
            raise _missing(name)
        return found

    async def put(self, name: str, saved: SavedConfig, *, now: float) -> None:
        """Keep it, in the place of an earlier one. Raises ``InvalidRequest`` or ``ConfigInvalid``."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"{name!r} is not a name: 1 to 100 letters, digits, blanks, dots, dashes, underscores.", field="name"
            )
        data = None if saved.dataloader_config is None else read_dataloader(saved.dataloader_config)
        training_config(saved.config, {} if data is None else data.settings)
        value = msgspec.to_builtins(saved)
        if redacted(value) != value:
            raise ConfigInvalid(
                "It holds what looks like a token, a key or a password, and is kept in plain text: nothing was saved. "
                "Leave that out; a submit may give it in `input`, as `hf_token`.",
                field="config",
            )
        await self._stored.put_member(_KEY, name, value, now=now)

    async def delete(self, name: str, *, now: float) -> None:
        """Raises ``NotFound``."""
        if not await self._stored.put_member(_KEY, name, None, now=now):
            raise _missing(name)


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no saved configuration {name!r}. GET /api/cloud/configs lists them.")
