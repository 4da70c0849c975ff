"""Headers as proxies send them, cut at every byte, and what is none."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.proxy_protocol import LONGEST_V1, LONGEST_V2, BadHeader, ProxyHeader, read_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FOUR = ipaddress.ip_address("203.0.113.9")
SIX = ipaddress.ip_address("2001:db8::9")


def v2(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


FOUR_PAYLOAD = FOUR.packed + bytes([127, 0, 0, 1]) + struct.pack("!HH", 5000, 443)
SIX_PAYLOAD = SIX.packed + bytes(16) + struct.pack("!HH", 5000, 443)
TLV = b"\x04\x00\x05abcde"

GOOD = [
    (b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 443\r\n", FOUR, 5000, False),
    (b"PROXY TCP6 2001:db8::9 ::1 5000 0\r\n", SIX, 5000, False),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 5000 443\r\n", FOUR, 5000, False),
    (b"PROXY UNKNOWN\r\n", None, 0, False),
    (b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n", None, 0, False),
    (v2(0x21, 0x11, FOUR_PAYLOAD), FOUR, 5000, False),
    (v2(0x21, 0x21, SIX_PAYLOAD + TLV), SIX, 5000, False),
    (v2(0x21, 0x31, bytes(216)), None, 0, False),
    (v2(0x21, 0x00, b""), None, 0, False),
    (v2(0x20, 0x00, b""), None, 0, True),
    (v2(0x20, 0x11, FOUR_PAYLOAD), None, 0, True),
]


@pytest.mark.parametrize(("header", "source", "port", "local"), GOOD)
def test_a_header_and_not_a_byte_more(header: bytes, source, port: int, local: bool) -> None:
    expected = ProxyHeader(len(header), source, port, local)
    assert read_header(header) == expected
    assert read_header(header + b"GET / HTTP/1.1\r\n") == expected
    for cut in range(len(header)):
        assert read_header(header[:cut]) is None, cut


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"proxy TCP4 203.0.113.9 127.0.0.1 5000 443\r\n",
        b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 443\n",
        b"PROXY TCP4 203.0.113.9  127.0.0.1 5000 443\r\n",
        b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 443 \r\n",
        b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 65536\r\n",
        b"PROXY TCP4 203.0.113.9 127.0.0.1 05000 443\r\n",
        b"PROXY TCP4 203.0.113.256 127.0.0.1 5000 443\r\n",
        b"PROXY TCP4 2001:db8::9 ::1 5000 443\r\n",
        b"PROXY TCP6 203.0.113.9 127.0.0.1 5000 443\r\n",
        b"PROXY TCP4 203.0.113.9 127.0.0.1 5000\r\n",
        b"PROXY UDP4 203.0.113.9 127.0.0.1 5000 443\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY " + b"x" * LONGEST_V1,
        v2(0x11, 0x11, FOUR_PAYLOAD),
        v2(0x22, 0x11, FOUR_PAYLOAD),
        v2(0x21, 0x12, FOUR_PAYLOAD),
        v2(0x21, 0x41, FOUR_PAYLOAD),
        v2(0x21, 0x11, FOUR_PAYLOAD[:-1]),
        v2(0x21, 0x21, FOUR_PAYLOAD),
        v2(0x21, 0x11, FOUR_PAYLOAD + bytes(LONGEST_V2)),
        SIGNATURE[:-1] + b"x",
    ],
)
def test_what_is_no_header(data: bytes) -> None:
    assert isinstance(read_header(data), BadHeader)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_bytes_give_an_answer(data: bytes, before: bytes) -> None:
    found = read_header(before + data)
    assert found is None or isinstance(found, BadHeader) or found.length <= len(before + data)
