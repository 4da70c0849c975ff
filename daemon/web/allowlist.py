"""The IP rule: who may reach the webhook receiver at all. The signature authenticates; this only keeps noise out.

The mode says how the feed's ranges count. ``off``: not at all, the listed addresses alone decide, and where none is
listed everybody is let in. ``log-only``: whoever is in neither is let in, counted and told. ``enforce``: refused.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from aiohttp import web

from .. import keys
from ..core.addresses import Address, AddressSet, Malformed
from ..core.hops import Explained, Hop, find_network, kind_of, walk_hops
from ..errors import IpNotAllowed, NotReady
from ..parsing import WEBHOOK_PATH
from ..replicate.ip_ranges import RangesFeed
from ..store.effective import EffectiveSettings
from .address import Client
from .rejected import RejectedAddresses

log = structlog.get_logger()

_RETRY_SECONDS = 5


class Allowlist:
    """Asked for every webhook: its sets are made once for each change of list, mode or feed."""

    def __init__(
        self, effective: EffectiveSettings, feed: RangesFeed, rejected: RejectedAddresses, clock: Callable[[], float]
    ) -> None:
        self._effective = effective
        self.feed = feed
        self._rejected = rejected
        self._clock = clock
        self._made_of: tuple[object, ...] = ()
        self._allowed = AddressSet(())
        self._applies = False
        self._logged: set[str] = set()  # addresses that log-only told about; bounded by what is remembered of them

    def lists(self, client: Client) -> bool:
        """Whether the client may come in, with nothing to be said about it."""
        mode, listed = self._effective.webhook_ip_mode, self._effective.webhook_allowed_ips
        if self._made_of != (mode, listed, self.feed.state.ranges):
            self._remake(mode, listed)
        return not self._applies or (client.address is not None and client.address in self._allowed)

    def admit(self, client: Client) -> None:
        """Raise ``IpNotAllowed``, or ``NotReady`` while the ranges to judge by are not known."""
        if self.lists(client):
            return
        mode = self._effective.webhook_ip_mode
        if mode == "log-only":
            self._tell(client.text)
            return
        if mode == "enforce" and self.feed.state.ranges is None:
            raise NotReady("The cloud's address ranges are not known yet. Send it again.", retry_after=_RETRY_SECONDS)
        self._rejected.note(client.text, self._clock(), WEBHOOK_PATH)
        where = "webhook_allowed_ips" if mode == "off" else "webhook_allowed_ips or the cloud's ranges"
        raise IpNotAllowed(
            f"{client.text or 'An unknown address'} is not in {where}. Add it, or empty the list: "
            "the signature is what authenticates. Behind a proxy, check TUNERD_TRUSTED_PROXIES."
        )

    def admitted(self) -> tuple[str, ...]:
        """The networks outside of which every webhook is refused; empty: none is refused for its address."""
        mode, listed = self._effective.webhook_ip_mode, self._effective.webhook_allowed_ips
        ranges = self.feed.state.ranges
        if mode == "off":
            return listed
        return (*listed, *ranges.networks) if mode == "enforce" and ranges is not None else ()

    def _remake(self, mode: str, listed: tuple[str, ...]) -> None:
        ranges = self.feed.state.ranges
        networks = listed if mode == "off" or ranges is None else (*listed, *ranges.networks)
        self._allowed = AddressSet(networks)
        self._applies = bool(networks) or mode != "off"
        self._made_of = (mode, listed, ranges)

    def _tell(self, address: str | None) -> None:
        self._rejected.note(address, self._clock(), WEBHOOK_PATH)
        name = address or "unknown"
        if name not in self._logged:
            if len(self._logged) >= self._rejected.most:
                self._logged.clear()
            self._logged.add(name)
            log.warning("an address that is not in the allowlist was let in (log-only)", client=address)

    def explain(self, peer: str, forwarded_for: list[str], trusted: tuple[str, ...]) -> Explained:
        """What would happen to a webhook from there, and by which rule."""
        client, hops = walk_hops(peer, forwarded_for, trusted)
        if client is None or isinstance(client, Malformed):
            return Explained(None, "refused", "forwarded_invalid: what the proxy names is no address", hops)
        return self._judge(client, hops)

    def _judge(self, client: Address, hops: list[Hop]) -> Explained:
        mode, listed = self._effective.webhook_ip_mode, self._effective.webhook_allowed_ips
        ranges = self.feed.state.ranges
        name = str(client)

        def told(verdict: str, rule: str, matched: str | None, says: str) -> Explained:
            return Explained(name, verdict, rule, [*hops, Hop(name, "client", matched, says)])  # type: ignore[arg-type]

        by = find_network(client, listed)
        if by is not None:
            return told("let in", "webhook_allowed_ips", by, "is listed")
        if mode == "off":
            if not listed:
                return told("let in", "no rule", None, "nothing is listed: everybody is let in")
            return told("refused", "webhook_allowed_ips", None, f"is not listed. {kind_of(client) or ''}".strip())
        by = None if ranges is None else find_network(client, ranges.networks)
        if by is not None:
            scopes = ", ".join(self.feed.state.scopes)
            return told("let in", f"feed ({scopes})", by, "is in the cloud's ranges")
        says = f"is neither listed nor in the cloud's ranges. {kind_of(client) or ''}".strip()
        if mode == "log-only":
            return told("let in, and logged", "webhook_ip_mode log-only", None, says)
        if ranges is None:
            return told("not known yet", "webhook_ip_mode enforce", None, "no ranges are known yet: answered 503")
        return told("refused", "webhook_ip_mode enforce", None, says)


ALLOWLIST: web.AppKey[Allowlist] = web.AppKey("allowlist")


def set_up(app: web.Application, rejected: RejectedAddresses) -> None:
    app[ALLOWLIST] = Allowlist(app[keys.EFFECTIVE], app[keys.RANGES_FEED], rejected, app[keys.CLOCK])
