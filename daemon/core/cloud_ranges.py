"""Google's published address ranges (``cloud.json``), read strictly: what is let in is decided by them.

A list that is empty, that cannot be read whole or that lets half the internet in is worse than yesterday's: it is
refused with the reason. Pure and total: any bytes give ranges or a reason.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import msgspec

# The largest block that Google has is far smaller; a /0 would open the rule for everybody. Bits.
SHORTEST = {4: 8, 6: 20}
# Below and above these, compared with the last good list, somebody had better look before it counts.
MOST_GROWTH, MOST_SHRINKING = 2.0, 0.5


class Ranges(msgspec.Struct, frozen=True):
    """The networks of the wanted scopes, in canonical form, IPv4 first, sorted. ``token``: the list's own version."""

    networks: tuple[str, ...]
    token: int | None = None

    @property
    def addresses(self) -> int:
        """How many IPv4 addresses they hold: what the size of two lists is compared by."""
        return sum(
            network.num_addresses for network in map(ipaddress.ip_network, self.networks) if network.version == 4
        )


class Refused(msgspec.Struct, frozen=True):
    """The list is not to be used, and why."""

    reason: str


def parse_ranges(body: bytes, scopes: Sequence[str]) -> Ranges | Refused:
    """The ranges of ``scopes`` (as ``us-west1``; each must occur)."""
    try:
        page = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused("it is not JSON")
    entries = page.get("prefixes") if isinstance(page, dict) else None
    if not isinstance(entries, list):
        return Refused("it holds no list of prefixes")
    found: set[ipaddress.IPv4Network | ipaddress.IPv6Network] = set()
    seen: set[str] = set()
    for entry in entries:
        network = _network(entry)
        if isinstance(network, Refused):
            return network
        if entry["scope"] in scopes:
            seen.add(entry["scope"])
            found.add(network)
    missing = [scope for scope in scopes if scope not in seen]
    if missing or not found:
        return Refused(f"it holds no prefix of {', '.join(missing) or 'any scope'}")
    ordered = sorted(found, key=lambda network: (network.version, int(network.network_address), network.prefixlen))
    return Ranges(tuple(map(str, ordered)), _token(page.get("syncToken")))


def _network(entry: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | Refused:
    if not isinstance(entry, dict) or not isinstance(entry.get("scope"), str):
        return Refused("an entry has no scope")
    given = [entry[name] for name in ("ipv4Prefix", "ipv6Prefix") if name in entry]
    if len(given) != 1 or not isinstance(given[0], str):
        return Refused("an entry has not exactly one prefix")
    try:
        network = ipaddress.ip_network(given[0])
    except ValueError:
        return Refused(f"{given[0][:60]!r} is no network")
    if network.version != (4 if "ipv4Prefix" in entry else 6):
        return Refused(f"{given[0][:60]!r} is of the other kind of address than it says")
    if network.prefixlen < SHORTEST[network.version]:
        return Refused(f"{given[0]} is far too large a network")
    return network


def _token(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None


def is_older(known: Ranges, found: Ranges) -> bool:
    """Whether ``found`` is an earlier version of the list: some cache on the way had it still."""
    return known.token is not None and found.token is not None and found.token < known.token


def large_change(known: Ranges, found: Ranges) -> str | None:
    """What somebody had better look at before ``found`` counts; ``None``: an ordinary change."""
    before, after = known.addresses, found.addresses
    if not before or MOST_SHRINKING <= after / before <= MOST_GROWTH:
        return None
    return (
        f"the list went from {len(known.networks)} networks ({before} IPv4 addresses) to {len(found.networks)} "
        f"({after} addresses)"
    )
