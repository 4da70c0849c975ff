"""Whose request is it? Peers, proxies and what they write."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.core.addresses import AddressSet, Malformed, client_address, parse_address, parse_entry

PROXIES = AddressSet(("127.0.0.1/32", "::1/128", "10.0.0.0/8"))


def who(peer: str | None, *lines: str) -> str | None:
    found = client_address(peer, lines, PROXIES)
    assert not isinstance(found, Malformed)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),  # an untrusted peer says nothing about others
        ("203.0.113.9", ("not an address",), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("::1", ("198.51.100.1",), "198.51.100.1"),
        ("::ffff:127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("::ffff:203.0.113.9", (), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1, 203.0.113.9",), "203.0.113.9"),  # the right-most; the left one anybody may write
        ("127.0.0.1", ("198.51.100.1, 203.0.113.9, 10.1.2.3",), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.1", "203.0.113.9"), "203.0.113.9"),  # two lines are one list
        ("127.0.0.1", ("198.51.100.1", "10.1.2.3"), "198.51.100.1"),
        ("127.0.0.1", ("10.9.9.9, 10.1.2.3",), "10.9.9.9"),  # all trusted: the left-most
        ("127.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("::ffff:10.1.2.3, 198.51.100.1, ::ffff:10.1.2.3",), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.1:5678",), "198.51.100.1"),
        ("127.0.0.1", ("[2001:db8::1]:5678",), "2001:db8::1"),
        ("127.0.0.1", ("[2001:db8::1]",), "2001:db8::1"),
        ("127.0.0.1", ("2001:db8::1",), "2001:db8::1"),
        ("127.0.0.1", ("2001:DB8:0::1\t , 10.0.0.1",), "2001:db8::1"),
        ("fe80::1%eth0", (), "fe80::1"),
        ("127.0.0.1", ("fe80::1%eth0",), "fe80::1"),
        (None, (), None),  # a unix socket
        (None, ("198.51.100.1",), "198.51.100.1"),
        ("nonsense", ("198.51.100.1",), None),  # no peer that we know: not believed
    ],
)
def test_client_address(peer: str | None, lines: tuple[str, ...], client: str | None) -> None:
    assert who(peer, *lines) == client


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("", ""),
        (" ", ""),
        (",", ""),
        ("198.51.100.1,", ""),
        ("198.51.100.1,,203.0.113.9", ""),
        ("unknown", "unknown"),
        ("client.example", "client.example"),
        ("garbage, 198.51.100.1", "garbage"),
        ("198.51.100.1 203.0.113.9", "198.51.100.1 203.0.113.9"),
        ("198.51.100.256", "198.51.100.256"),
        ("198.51.100.01", "198.51.100.01"),
        ("198.51.100.1:port", "198.51.100.1:port"),
        ("198.51.100.1:", "198.51.100.1:"),
        ("198.51.100.1:65536", "198.51.100.1:65536"),
        ("[2001:db8::1]:99999", "[2001:db8::1]:99999"),
        ("[198.51.100.1]:80", "[198.51.100.1]:80"),
        ("[2001:db8::1", "[2001:db8::1"),
        ("[]", "[]"),
        ("2001:db8::1%", "2001:db8::1%"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("\uff11.1.1.1", "\uff11.1.1.1"),
        ("1" * 9000, "1" * 9000),
    ],
)
def test_malformed_headers_of_a_trusted_proxy(line: str, entry: str) -> None:
    assert client_address("127.0.0.1", [line], PROXIES) == Malformed(entry)


@given(peer=st.none() | st.text(), lines=st.lists(st.text()))
def test_any_text_gives_an_answer(peer: str | None, lines: list[str]) -> None:
    found = client_address(peer, lines, PROXIES)
    assert found is None or isinstance(found, (Malformed, ipaddress.IPv4Address, ipaddress.IPv6Address))


@given(st.ip_addresses())
def test_every_address_is_read_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    plain = getattr(address, "ipv4_mapped", None) or address
    assert parse_address(str(address)) == plain
    assert parse_entry(f"[{address}]:443" if address.version == 6 else f"{address}:443") == plain


NETWORKS = st.lists(st.ip_addresses().flatmap(lambda a: st.integers(0, a.max_prefixlen).map(lambda n: f"{a}/{n}")))


@given(networks=NETWORKS, address=st.ip_addresses())
@example(networks=["::ffff:0:0/96"], address=ipaddress.IPv4Address("0.0.0.0"))
def test_the_compiled_set_agrees_with_the_standard_library(
    networks: list[str], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    address = getattr(address, "ipv4_mapped", None) or address
    given = [ipaddress.ip_network(text, strict=False) for text in networks]
    compiled = AddressSet(str(network) for network in given)
    plain = [_plain(network) for network in given]
    assert (address in compiled) == any(address in network for network in plain)
    assert all(network.network_address in compiled for network in plain if network.version == 4 or not _mapped(network))


def _mapped(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return getattr(network.network_address, "ipv4_mapped", None) is not None


def _plain(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An IPv4 network that is written as IPv6 (``::ffff:0:0/96`` is all of IPv4) as what it is."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return (
        network if mapped is None or network.prefixlen < 96 else ipaddress.ip_network((mapped, network.prefixlen - 96))
    )


def test_mapped_networks_are_their_ipv4_ones() -> None:
    found = AddressSet(("::ffff:10.0.0.0/104",))
    assert ipaddress.ip_address("10.1.2.3") in found
    assert ipaddress.ip_address("11.1.2.3") not in found


def test_an_empty_set() -> None:
    assert not AddressSet(())
    assert ipaddress.ip_address("10.1.2.3") not in AddressSet(())
    with pytest.raises(ValueError, match="host bits"):
        AddressSet(("10.0.0.1/8",))
