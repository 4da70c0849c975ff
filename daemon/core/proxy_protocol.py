"""The PROXY protocol, versions 1 and 2: whom a proxy in front of a listener speaks for. Bytes in, value out.

Format: HAProxy's "The PROXY protocol" (proxy-protocol.txt), sections 2.1 and 2.2. A connection begins with one header,
the client's own bytes follow. What version 2 adds behind the addresses (TLVs) is skipped.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from .addresses import Address, parse_address

LONGEST_V1 = 107  # bytes with CRLF: the specification's own figure
LONGEST_V2 = 4096  # bytes; addresses take 52, the rest are TLVs, of which proxies send a few hundred bytes at most

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16  # signature, version and command, family, length of what follows
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
# Family and transport → bytes of its addresses and ports. Datagrams cannot arrive on a stream.
_V2_ADDRESSES = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}

_PORT = rb"(?:0|[1-9][0-9]{0,4})"
_TCP = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (" + _PORT + rb") (" + _PORT + rb")\r\n")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")


class ProxyHeader(msgspec.Struct, frozen=True):
    """``length``: bytes to skip. ``source``: the client; ``None`` where the proxy does not know it, or is it itself."""

    length: int
    source: Address | None = None
    port: int = 0
    local: bool = False  # the proxy's own connection, a health check


class BadHeader(msgspec.Struct, frozen=True):
    """Not a PROXY header; the connection must be closed (section 2: no guessing)."""

    reason: str


def read_header(data: bytes) -> ProxyHeader | BadHeader | None:
    """The header that ``data`` begins with; ``None`` where more bytes are needed. Total."""
    if data.startswith(_V2):
        return _read_v2(data)
    if data.startswith(_V1):
        return _read_v1(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    return BadHeader("the connection does not begin with a PROXY header")


def _read_v1(data: bytes) -> ProxyHeader | BadHeader | None:
    end = data.find(b"\n", 0, LONGEST_V1)
    if end < 0:
        return None if len(data) < LONGEST_V1 else BadHeader("version 1: no end of line within 107 bytes")
    line = data[: end + 1]
    if _UNKNOWN.fullmatch(line):
        return ProxyHeader(len(line))
    found = _TCP.fullmatch(line)
    if found is None:
        return BadHeader("version 1: the line cannot be read")
    version = int(found[1])
    source, destination = (_strict(found[part], version) for part in (2, 3))
    source_port, destination_port = int(found[4]), int(found[5])
    if source is None or destination is None or max(source_port, destination_port) > 65535:
        return BadHeader("version 1: an address or port is not one")
    return ProxyHeader(len(line), source, source_port)


def _strict(text: bytes, version: int) -> Address | None:
    """An address of that IP version, in plain form (as everywhere: an IPv4 address mapped into IPv6 is IPv4)."""
    try:
        found = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        return None
    return parse_address(str(found)) if found.version == version else None


def _read_v2(data: bytes) -> ProxyHeader | BadHeader | None:
    if len(data) < _V2_FIXED:
        return None
    command, family = data[12], data[13]
    announced = int.from_bytes(data[14:16], "big")
    if command not in {_V2_LOCAL, _V2_PROXY}:
        return BadHeader("version 2: an unknown version or command")
    if _V2_FIXED + announced > LONGEST_V2:
        return BadHeader(f"version 2: a header of more than {LONGEST_V2} bytes")
    if command == _V2_PROXY and announced < _V2_ADDRESSES.get(family, LONGEST_V2):
        return BadHeader("version 2: an unknown family, or too few bytes for its addresses")
    if len(data) < _V2_FIXED + announced:
        return None
    length, addresses = _V2_FIXED + announced, data[_V2_FIXED:]
    if command == _V2_LOCAL:
        return ProxyHeader(length, local=True)
    if family == 0x11:
        return ProxyHeader(length, ipaddress.IPv4Address(addresses[:4]), int.from_bytes(addresses[8:10], "big"))
    if family == 0x21:
        source = parse_address(str(ipaddress.IPv6Address(addresses[:16])))
        return ProxyHeader(length, source, int.from_bytes(addresses[32:34], "big"))
    return ProxyHeader(length)
