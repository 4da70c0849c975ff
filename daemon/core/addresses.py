"""Who is calling, and is that address in a list? Pure: the connection's peer and header texts in, an address out.

An address is always in plain form: ``::ffff:192.0.2.1`` is 192.0.2.1, and a zone (``%eth0``) is dropped: it means
something only on the machine that wrote it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 64  # characters; the longest address with zone and port is shorter. Keeps the cache small, too
_PORT = r"(?:[0-9]{1,4}|[0-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_BRACKETED = re.compile(rf"\[([^\[\]]*)\](?::{_PORT})?", re.ASCII)
_WITH_PORT = re.compile(rf"([0-9.]+):{_PORT}", re.ASCII)


class Malformed(msgspec.Struct, frozen=True):
    """A forwarding header that cannot be read; ``entry`` is the one that is no address."""

    entry: str


class AddressSet:
    """Networks, compiled: a look-up costs one mask per prefix length that occurs, however many networks there are."""

    def __init__(self, networks: Iterable[str]) -> None:
        """``networks`` are addresses and CIDRs; raises ``ValueError`` for anything else."""
        self.networks = tuple(networks)
        self._masks: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}  # IP version → mask → network numbers
        for text in self.networks:
            network = _plain_network(ipaddress.ip_network(text))
            numbers = self._masks[network.version].setdefault(int(network.netmask), set())
            numbers.add(int(network.network_address))

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        return any(number & mask in numbers for mask, numbers in self._masks[address.version].items())

    def __bool__(self) -> bool:
        return bool(self.networks)


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: AddressSet) -> Address | Malformed | None:
    """The client's address.

    ``peer`` is the connection's other end, ``None`` for a unix socket: only a proxy on this machine can be behind one,
    so it is believed. ``forwarded_for`` holds the ``X-Forwarded-For`` lines in their order; they are one list. From an
    untrusted peer they are ignored. From a trusted one the right-most entry that is not itself trusted counts (each
    proxy appends whom it saw; what is left of that anybody may have written), or the left-most if all are trusted. An
    entry may carry a port, as some proxies write it. ``None``: a unix socket without the header.
    """
    address = parse_address(peer) if peer else None
    if not forwarded_for or (peer and (address is None or address not in trusted)):
        return address
    entries = [entry.strip(" \t") for line in forwarded_for for entry in line.split(",")]
    found: list[Address] = []
    for entry in entries:
        parsed = parse_entry(entry)
        if parsed is None:
            return Malformed(entry)
        found.append(parsed)
    return next((candidate for candidate in reversed(found) if candidate not in trusted), found[0])


def parse_entry(text: str) -> Address | None:
    """One entry of ``X-Forwarded-For``: an address, perhaps with a port. Total."""
    if len(text) > _LONGEST:
        return None
    match = _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text)
    if match is None:
        return parse_address(text)
    address = parse_address(match[1])
    if address is not None and text.startswith("[") and ":" not in match[1]:
        return None  # brackets are for IPv6
    return address


def parse_address(text: str) -> Address | None:
    """An address in plain form; ``None`` where ``text`` is none. Total."""
    return None if len(text) > _LONGEST else _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        return address
    return address.ipv4_mapped or (ipaddress.IPv6Address(int(address)) if address.scope_id else address)


def _plain_network(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if network.version == 6 and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
