"""Why is an address let in or not? The same decisions as the receiver's, told step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .addresses import Address, AddressSet, Malformed, client_address, parse_address, parse_entry

Verdict = Literal["let in", "let in, and logged", "refused", "not known yet"]


class Hop(msgspec.Struct, frozen=True):
    """One step. ``matched``: the network it is in, of the trusted proxies or of the rule; ``says`` in words."""

    address: str
    role: Literal["peer", "forwarded", "client"]
    matched: str | None
    says: str


class Explained(msgspec.Struct, frozen=True):
    """``client``: whose address the rule looks at; null where the header cannot be read."""

    client: str | None
    verdict: Verdict
    rule: str
    hops: list[Hop]


def find_network(address: Address, networks: Sequence[str]) -> str | None:
    """The first of ``networks`` that holds ``address``."""
    return next((text for text in networks if address in AddressSet((text,))), None)


def walk_hops(
    peer: str, forwarded_for: Sequence[str], trusted: Sequence[str]
) -> tuple[Address | Malformed | None, list[Hop]]:
    """The client's address, and each hop that led to it. ``forwarded_for``: the header's lines."""
    address = parse_address(peer)
    if address is None:
        return Malformed(peer), [Hop(peer[:100], "peer", None, "is no address")]
    by = find_network(address, trusted)
    if by is None:
        ignored = " its X-Forwarded-For is ignored" if forwarded_for else ""
        return address, [Hop(str(address), "peer", None, f"is no trusted proxy;{ignored or ' it is the client'}")]
    if not forwarded_for:
        return address, [Hop(str(address), "peer", by, "is a trusted proxy, but names nobody: it is the client itself")]
    hops = [Hop(str(address), "peer", by, "is a trusted proxy: its X-Forwarded-For is believed")]
    entries = [entry.strip(" \t") for line in forwarded_for for entry in line.split(",")]
    for entry in reversed(entries):
        parsed = parse_entry(entry)
        if parsed is None:
            hops.append(Hop(entry[:100], "forwarded", None, "is no address: such a request is refused (400)"))
            break
        by = find_network(parsed, trusted)
        if by is None:
            hops.append(Hop(str(parsed), "forwarded", None, "is the right-most that is no trusted proxy"))
            break
        hops.append(Hop(str(parsed), "forwarded", by, "is a trusted proxy itself: the next to its left counts"))
    return client_address(peer, forwarded_for, AddressSet(trusted)), hops


def kind_of(address: Address) -> str | None:
    """What a private or special address probably means; ``None`` for an ordinary one."""
    if address.is_loopback:
        return "It is this machine: is a proxy in front that is not in TUNERD_TRUSTED_PROXIES, or a local test?"
    if address.is_private:
        return "It is a private address: probably a proxy that is not in TUNERD_TRUSTED_PROXIES."
    return None
