"""Every key under which the web application holds its parts.

Types are imported for the type checker only, so that this file may name every part and import none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import aiohttp

    from .config import Settings
    from .core.options import Checked, OptionType
    from .metrics import Metrics
    from .replicate.client import ReplicateClient
    from .replicate.feeds import StatusFeed
    from .replicate.ip_ranges import RangesFeed
    from .replicate.preflight import Preflight
    from .replicate.submit import Submitter
    from .replicate.token import TokenSource
    from .replicate.webhook_secret import WebhookSecrets
    from .store.effective import EffectiveSettings
    from .store.records import DestinationConfig
    from .store.store import Store
    from .web.health import Check

SETTINGS: web.AppKey[Settings] = web.AppKey("settings")
STORE: web.AppKey[Store] = web.AppKey("store")
EFFECTIVE: web.AppKey[EffectiveSettings] = web.AppKey("effective")
CLIENT: web.AppKey[ReplicateClient] = web.AppKey("client")
TOKENS: web.AppKey[TokenSource] = web.AppKey("tokens")
WEBHOOK_SECRETS: web.AppKey[WebhookSecrets] = web.AppKey("webhook_secrets")
SUBMITTER: web.AppKey[Submitter] = web.AppKey("submitter")
SESSION: web.AppKey[aiohttp.ClientSession] = web.AppKey("session")
PREFLIGHT: web.AppKey[Preflight] = web.AppKey("preflight")
RANGES_FEED: web.AppKey[RangesFeed] = web.AppKey("ranges_feed")
STATUS_FEED: web.AppKey[StatusFeed] = web.AppKey("status_feed")
DESTINATION_TYPES: web.AppKey[Mapping[str, OptionType]] = web.AppKey("destination_types")  # by name
CHECK_DESTINATION: web.AppKey[Callable[[DestinationConfig], Awaitable[Checked]]] = web.AppKey("check_destination")
CHECKS: web.AppKey[Mapping[str, Check]] = web.AppKey("checks")
METRICS: web.AppKey[Metrics] = web.AppKey("metrics")
CLOCK: web.AppKey[Callable[[], float]] = web.AppKey("clock")  # unix seconds
RELOAD: web.AppKey[Callable[[], list[str]]] = web.AppKey("reload")  # the names of what changed
LISTENING: web.AppKey[Sequence[str]] = web.AppKey("listening")  # addresses, as printed at start
# Fetches a small output file (address, most bytes); None on a node that does not deliver. Raises NotFound.
PREVIEW: web.AppKey[Callable[[str, int], Awaitable[bytes]] | None] = web.AppKey("preview")
WAKE_DELIVERY: web.AppKey[Callable[[], None]] = web.AppKey("wake_delivery")
# Set once, at SIGTERM: every event stream ends. Events are still taken on the connections that are open.
DRAINING: web.AppKey[asyncio.Event] = web.AppKey("draining")
# Set once, when the store is about to be closed: the receiver answers 503.
CLOSING: web.AppKey[asyncio.Event] = web.AppKey("closing")
# The handlers of open event streams: the drain ends those that a stalled client holds up.
STREAMS: web.AppKey[set[asyncio.Task[object]]] = web.AppKey("streams")
