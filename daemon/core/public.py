"""Which addresses are those of machines on the public internet. No I/O: a name is resolved elsewhere."""

from __future__ import annotations

import ipaddress

# Not public although Python's tables (which differ by version) may say so.
_RESERVED = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
            "168.63.129.16/32",  # Azure's metadata and wire server
            "169.254.0.0/16",  # link-local; most clouds' metadata service
            "192.0.0.0/24",  # Oracle's metadata service
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "2001::/23",  # Teredo and other special uses
            "2001:db8::/32",
            "3fff::/20",
        ),
    )
)
_UNICAST6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")


def is_public(text: str) -> bool:
    """Whether ``text`` is the address of a machine on the public internet. An IPv4 inside an IPv6 counts as itself."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)))
        if address in _6TO4:
            return is_public(str(ipaddress.IPv4Address((int(address) >> 80) & 0xFFFF_FFFF)))
        if address not in _UNICAST6:  # also ::ffff:0:0/96: nobody's DNS has a reason to answer with it
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _RESERVED)
