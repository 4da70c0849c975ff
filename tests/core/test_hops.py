"""Each hop is told, and leads to the same client as the receiver finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.addresses import AddressSet, Malformed, client_address
from daemon.core.hops import find_network, kind_of, walk_hops

TRUSTED = ("127.0.0.1/32", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client", "roles"),
    [
        ("34.82.0.1", [], "34.82.0.1", ["peer"]),
        ("34.82.0.1", ["1.2.3.4"], "34.82.0.1", ["peer"]),
        ("127.0.0.1", [], "127.0.0.1", ["peer"]),
        ("127.0.0.1", ["34.82.0.1"], "34.82.0.1", ["peer", "forwarded"]),
        ("127.0.0.1", ["6.6.6.6, 34.82.0.1, 10.0.0.1"], "34.82.0.1", ["peer", "forwarded", "forwarded"]),
        ("127.0.0.1", ["6.6.6.6", "34.82.0.1:1234"], "34.82.0.1", ["peer", "forwarded"]),
        ("::ffff:127.0.0.1", ["10.1.1.1"], "10.1.1.1", ["peer", "forwarded"]),
    ],
)
def test_each_hop_is_told(peer: str, forwarded: list[str], client: str, roles: list[str]) -> None:
    found, hops = walk_hops(peer, forwarded, TRUSTED)
    assert str(found) == client
    assert [hop.role for hop in hops] == roles


def test_a_header_that_cannot_be_read_is_told() -> None:
    found, hops = walk_hops("127.0.0.1", ["34.82.0.1, nonsense"], TRUSTED)
    assert isinstance(found, Malformed)
    assert "refused" in hops[-1].says


_ENTRY = st.sampled_from(["10.0.0.1", "34.82.0.1", "6.6.6.6", "::1", "nonsense", "", "127.0.0.1", "[::1]:80"])


@given(st.sampled_from(["127.0.0.1", "34.82.0.1", "10.9.9.9"]), st.lists(_ENTRY, max_size=5))
def test_it_is_the_client_that_the_receiver_finds(peer: str, entries: list[str]) -> None:
    lines = [", ".join(entries)] if entries else []
    found, _ = walk_hops(peer, lines, TRUSTED)
    assert found == client_address(peer, lines, AddressSet(TRUSTED))


def test_a_network_is_found_by_its_text() -> None:
    address = AddressSet(())
    assert not address
    found, _ = walk_hops("10.9.9.9", [], ())
    assert not isinstance(found, Malformed)
    assert found is not None
    assert find_network(found, TRUSTED) == "10.0.0.0/8"
    assert find_network(found, ("192.0.2.0/24",)) is None
    assert "private" in (kind_of(found) or "")
