"""The settings that the API can change, as they are in force: pinned at start, else stored, else the default.

Read from memory, so that every webhook may ask. On a database that other nodes share, what they store arrives a few
seconds later: a reader that finds the values old has them read again in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, overload
from urllib.parse import urlsplit

import structlog

from .. import parsing
from ..config import Settings
from ..core.costs import Hardware, price_list, price_per_second
from ..core.spend import Limit
from ..core.versions import version
from ..errors import InvalidSetting, SettingPinned, UnknownSetting
from .settings import StoredSettings

REFRESH_SECONDS = 5.0  # how long another node's change may stay unseen

T = TypeVar("T")

log = structlog.get_logger()

# Every value is read by the function that reads it in the environment and in the file.
READERS: dict[str, Callable[[Any], Any]] = {
    "webhook_url": parsing.webhook_url,
    "webhook_allowed_ips": parsing.networks,
    "webhook_ip_mode": parsing.one_of("off", "log-only", "enforce"),
    "webhook_ip_scopes": parsing.scopes,
    "webhook_require_signature": parsing.boolean,
    "model": parsing.model,
    "version_override": version,
    "hardware": parsing.text,
    "cost_limit_enabled": parsing.boolean,
    "cost_limit_amount": parsing.number(0, 1e9),
    "cost_limit_period": parsing.one_of("daily", "weekly", "monthly"),
    "cost_limit_action": parsing.one_of("warn", "block"),
}


class _Setting(Generic[T]):
    """An attribute that reads the value in force."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = name

    @overload
    def __get__(self, instance: None, owner: type) -> _Setting[T]: ...
    @overload
    def __get__(self, instance: EffectiveSettings, owner: type) -> T: ...
    def __get__(self, instance: EffectiveSettings | None, owner: type) -> _Setting[T] | T:
        if instance is None:
            return self
        value: T = instance.get(self._key)
        return value


class EffectiveSettings:
    """One for each process. ``await load()`` before the first use."""

    webhook_url = _Setting[str | None]()
    webhook_allowed_ips = _Setting[tuple[str, ...]]()
    webhook_ip_mode = _Setting[Literal["off", "log-only", "enforce"]]()
    webhook_ip_scopes = _Setting[tuple[str, ...]]()
    webhook_require_signature = _Setting[bool]()
    model = _Setting[str]()
    version_override = _Setting[str | None]()
    hardware = _Setting[str]()
    cost_limit_enabled = _Setting[bool]()
    cost_limit_amount = _Setting[float]()
    cost_limit_period = _Setting[str]()
    cost_limit_action = _Setting[str]()

    def __init__(self, settings: Settings, stored: StoredSettings) -> None:
        self._stored = stored
        self._settings = settings
        self._take_settings()
        self._values = self._start
        self._last_stored: dict[str, Any] = {}  # as last read, readable or not
        self._stale_at = float("inf")  # in loop.time(); nothing to refresh before the first load
        self._refreshing: asyncio.Task[None] | None = None
        self._unreadable: set[str] = set()  # told about once
        self._changes = 0  # our own; a read that began before one must not undo it

    def _take_settings(self) -> None:
        settings = self._settings
        self._zone = settings.time_zone
        self.prices: dict[str, Hardware] = price_list(settings.prices)
        self._start: dict[str, Any] = {key: getattr(settings, key) for key in READERS}
        self._pinned = {key: origin for key in READERS if (origin := settings.pinned(key)) is not None}

    def settings_changed(self) -> None:
        """Take over what the settings say now; what is stored counts as before where nothing pins it."""
        self._take_settings()
        self._values = self._start | self._readable(self._last_stored)

    async def load(self) -> None:
        """Read what is stored."""
        changes = self._changes
        stored = await self._stored.all()
        if changes == self._changes:
            self._last_stored = dict(stored)
            self._values = self._start | self._readable(stored)
        self._stale_at = asyncio.get_running_loop().time() + REFRESH_SECONDS

    def get(self, key: str) -> Any:
        """The value of ``key`` in force. Call it on the event loop."""
        if self._stale_at != float("inf") and asyncio.get_running_loop().time() >= self._stale_at:
            self._refresh()
        return self._values[key]

    def cost_limit(self) -> Limit:
        """The cost limit in force. Call it on the event loop."""
        return Limit(
            enabled=self.cost_limit_enabled,
            amount=self.cost_limit_amount,
            period=self.cost_limit_period,
            action=self.cost_limit_action,
            zone=self._zone,
            assumed_hardware=self.hardware,
            prices=self.prices,
        )

    def pinned(self) -> dict[str, str]:
        """Setting → ``environment``, ``file`` or ``flag``, for those that cannot be changed here."""
        return dict(self._pinned)

    def shown(self) -> dict[str, Any]:
        """Every setting, with the derived ``webhook_endpoint`` and ``pinned``: what the API answers."""
        url = self.webhook_url
        endpoint = None if url is None else url + parsing.WEBHOOK_PATH
        return {**self._values, "webhook_endpoint": endpoint, "pinned": self.pinned()}

    def warnings(self) -> list[str]:
        """What is valid, yet probably not meant."""
        found = []
        url = self.webhook_url
        if url is not None and urlsplit(url).scheme == "http":
            found.append("webhook_url: plain http:// to this machine only: Replicate itself cannot reach it.")
        if not self.webhook_require_signature:
            found.append("webhook_require_signature is off: anyone who reaches the endpoint can forge events.")
        if price_per_second(self.hardware, self.prices) is None:
            found.append(
                f"hardware: {self.hardware} is not in the price list (GET /api/cloud/hardware-options): what its jobs "
                "cost is not known until the setting prices tells it, and a cost limit that blocks refuses them."
            )
        return found

    async def update(self, values: Mapping[str, Any], *, now: float) -> list[str]:
        """Store the given settings, all or none; the warnings of the result. ``None`` goes back to the default.

        Raises ``UnknownSetting``, ``InvalidSetting`` or ``SettingPinned``; each names the setting in ``field``.
        """
        parsed = {key: self._read(key, value) for key, value in values.items()}
        for key in parsed:
            if key in self._pinned:
                raise SettingPinned(f"{key} is given by the {self._pinned[key]}: change or remove it there.", field=key)
        await self._stored.put(parsed, now=now)
        self._changes += 1
        self._last_stored |= parsed
        changed = {key: self._start[key] if value is None else value for key, value in parsed.items()}
        self._values = {**self._values, **changed}
        return self.warnings()

    def _read(self, key: str, value: Any) -> Any:
        reader = READERS.get(key)
        if reader is None:
            raise UnknownSetting(f"There is no setting {key!r}. There are: {', '.join(READERS)}.", field=key)
        if value is None or (value == "" and self._start[key] is None):  # a form sends an emptied field so
            return None
        try:
            return reader(value)
        except (ValueError, TypeError) as problem:
            raise InvalidSetting(f"{key}: {problem}.", field=key) from None

    def _readable(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The stored values that count. One that another version wrote and this one cannot read is left out."""
        found = {}
        for key in READERS.keys() - self._pinned.keys():
            if stored.get(key) is None:
                continue
            try:
                found[key] = self._read(key, stored[key])
            except InvalidSetting as problem:
                if key not in self._unreadable:
                    self._unreadable.add(key)
                    log.warning("stored setting is not valid; the default is used", setting=key, reason=problem.detail)
        return found

    def _refresh(self) -> None:
        self._stale_at = asyncio.get_running_loop().time() + REFRESH_SECONDS
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._load_quietly(), name="settings refresh")

    async def _load_quietly(self) -> None:
        try:
            await self.load()
        except Exception as problem:  # nobody waits for this task
            log.warning("settings could not be read again; the last known ones are used", exc_info=problem)
