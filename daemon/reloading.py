"""A changed configuration taken over by a running daemon: validated first, then applied whole, or not at all.

``Settings`` are frozen for everyone but this file. Most parts read them when they need them and so see a new value at
once; those that made something of a value beforehand are told (``hooks``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog
from msgspec.structs import force_setattr

from .config import Settings
from .errors import ConfigurationInvalid, Misconfigured, ReloadRefused

# What nothing has been built upon at start. Everything else needs a restart: sockets, databases, whose jobs they are.
RELOADABLE = frozenset(
    {
        "admin_token",
        "cost_limit_action",
        "cost_limit_amount",
        "cost_limit_enabled",
        "cost_limit_period",
        "expiry_alert_minutes",
        "hardware",
        "ip_ranges_url",
        "max_body_mib",
        "model",
        "prices",
        "reconcile_seconds",
        "replicate_api_token",
        "status_url",
        "time_zone",
        "trusted_proxies",
        "version_override",
        "webhook_allowed_ips",
        "webhook_ip_mode",
        "webhook_ip_scopes",
        "webhook_rate_per_second",
        "webhook_require_signature",
        "webhook_secret",
        "webhook_url",
    }
)

log = structlog.get_logger()


class Reloader:
    """``reread`` gives the settings as they are configured now; ``hooks`` are called when new ones are in force.

    A hook must not fail: it gets values that were read and checked, and only makes them ready for use.
    """

    def __init__(self, settings: Settings, reread: Callable[[], Settings], hooks: Sequence[Callable[[], None]]) -> None:
        self._settings = settings
        self._reread = reread
        self._hooks = hooks

    def reload(self) -> list[str]:
        """The names of the settings that changed. Raises ``ConfigurationInvalid`` or ``ReloadRefused``."""
        try:
            found = self._reread()
        except Misconfigured as problem:
            log.warning("reload refused: the configuration is not valid", reason=problem.detail)
            raise ConfigurationInvalid(f"Nothing was changed. {problem.detail}") from None
        changed = self._differing(found)
        fixed = [key for key in changed if key not in RELOADABLE]
        if fixed:
            log.warning("reload refused: a restart is needed", settings=fixed)
            raise ReloadRefused(
                f"Nothing was changed. {', '.join(fixed)} cannot change while the daemon runs: restart it, or take "
                "that change back and reload again.",
                settings=fixed,
            )
        for key in msgspec.structs.fields(Settings):
            force_setattr(self._settings, key.name, getattr(found, key.name))
        for hook in self._hooks:
            hook()
        log.info("configuration reloaded", changed=changed)
        return changed

    def _differing(self, found: Settings) -> list[str]:
        """Settings with another value, or another origin: what the file pins the API cannot change."""
        now = self._settings
        names = [field.name for field in msgspec.structs.fields(Settings) if field.name != "origin"]
        return [
            key for key in names if getattr(now, key) != getattr(found, key) or now.pinned(key) != found.pinned(key)
        ]
