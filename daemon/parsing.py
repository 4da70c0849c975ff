"""Readers of single configuration values: text (or a TOML value) in, value out, ``ValueError`` with a reason.

The environment, the file and the API all read a value through the same function.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is expected")
    stripped = value.strip()
    if not stripped or not stripped.isprintable():
        raise ValueError("a text without control characters is expected")
    return stripped


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("true or false is expected")


def number(low: float, high: float) -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("a number is expected")
        try:
            parsed = float(value)
        except (ValueError, OverflowError):
            raise ValueError("a number is expected") from None
        if not low <= parsed <= high:  # also refuses NaN
            raise ValueError(f"a number from {low:g} to {high:g} is expected")
        return parsed

    return parse


def integer(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        whole = value.strip() if isinstance(value, str) else value
        if isinstance(whole, bool) or not re.fullmatch(r"-?[0-9]{1,18}", str(whole)):
            raise ValueError("a whole number is expected")
        if not low <= int(whole) <= high:
            raise ValueError(f"a whole number from {low} to {high} is expected")
        return int(whole)

    return parse


def one_of(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        word = value.strip() if isinstance(value, str) else None
        if word not in words:
            raise ValueError(f"one of {', '.join(words)} is expected")
        return word

    return parse


def items(value: Any) -> list[str]:
    """A comma-separated text, or a list of texts; blanks and empty entries dropped."""
    entries: Iterable[Any] = value.split(",") if isinstance(value, str) else value
    if not isinstance(entries, (list, tuple)):
        raise ValueError("a comma-separated list is expected")
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError("a list of texts is expected")
    return [entry.strip() for entry in entries if entry.strip()]


def time_zone(value: Any) -> ZoneInfo:
    """An IANA time zone: Europe/Berlin."""
    name = text(value)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):  # a folder's name, a path
        raise ValueError("a name as Europe/Berlin is expected, of a time zone that this system knows") from None


def networks(value: Any) -> tuple[str, ...]:
    """Addresses and CIDRs, each in its usual spelling. Host bits that are set are refused: they are a typing error."""
    found = []
    for entry in items(value):
        try:
            found.append(str(ipaddress.ip_network(entry) if "/" in entry else ipaddress.ip_address(entry)))
        except ValueError as problem:
            raise ValueError(f"{entry!r} is not an address or CIDR ({problem})") from None
    return tuple(found)


def scopes(value: Any) -> tuple[str, ...]:
    """Names of cloud regions, as us-west1; at least one, none twice."""
    found = items(value)
    if not found or not all(re.fullmatch(r"[a-z][a-z0-9-]{0,62}", scope) for scope in found):
        raise ValueError("names as us-west1, separated by commas, are expected")
    return tuple(dict.fromkeys(found))


def listeners(value: Any) -> tuple[str, ...]:
    """``HOST:PORT``, ``[::1]:PORT`` or ``unix:/path``, at least one; ``proxy://`` before it asks for PROXY headers."""
    found = tuple(items(value))
    if not found:
        raise ValueError("at least one address is expected")
    for entry in found:
        split_listener(entry.removeprefix(PROXY_PREFIX))
    return found


PROXY_PREFIX = "proxy://"  # of a listener whose connections begin with a PROXY protocol header


def split_listener(entry: str) -> tuple[str, int] | Path:
    """One listener, without ``proxy://``, as ``(host, port)`` or the path of a unix socket."""
    if entry.startswith("unix:"):
        socket_path = Path(entry.removeprefix("unix:"))
        if not socket_path.is_absolute():
            raise ValueError(f"{entry!r}: a unix socket needs an absolute path")
        return socket_path
    host, colon, port = entry.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{entry!r}: HOST:PORT, [IPv6]:PORT or unix:/path is expected")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    if re.fullmatch(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", host):
        raise ValueError(f"{entry!r}: an IPv6 address needs brackets, as in [::1]:8080")
    if not re.fullmatch(r"[\w.-]+", host):
        raise ValueError(f"{entry!r}: HOST:PORT, [IPv6]:PORT or unix:/path is expected")
    return host, int(port)


def path(value: Any, home: Path) -> Path:
    """An absolute path; a leading ``~`` is the user's home."""
    raw = text(value)
    expanded = home / raw[2:] if raw.startswith("~/") else home if raw == "~" else Path(raw)
    if not expanded.is_absolute():
        raise ValueError("an absolute path is expected")
    return expanded


def is_loopback_host(host: str | None) -> bool:
    """Whether ``host`` (a name or address, without port or brackets) can only be this machine."""
    if not host:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return name in _LOOPBACK_NAMES or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def http_url(value: Any) -> str:
    """An absolute http or https URL without credentials or fragment, its scheme in lower case."""
    url = text(value)
    parts = urlsplit(url)  # raises ValueError for a broken IPv6 host
    if parts.scheme not in {"http", "https"} or not parts.hostname or " " in url:
        raise ValueError("an absolute https:// URL is expected")
    _ = parts.port  # raises ValueError where it is not a port
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without user name and password is expected")
    if "#" in url:
        raise ValueError("a URL without a fragment is expected")
    return parts.scheme + url[len(parts.scheme) :]


def _bare_url(value: Any) -> str:
    """As ``http_url``, without a query (a lone ``?`` too: a path will be appended) and without trailing slashes."""
    url = http_url(value)
    if "?" in url:
        raise ValueError("a URL without a query is expected")
    return url.rstrip("/")


def base_url(value: Any) -> str:
    """The API's base URL, without ``/v1`` and without a trailing slash."""
    url = _bare_url(value)
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_near(parts.hostname or ""):
        raise ValueError(
            "http:// would send the API token over the internet in the clear; use https:// (http:// is for loopback, "
            "private addresses and names without a dot)"
        )
    return url.removesuffix("/v1").rstrip("/")


def _is_near(host: str) -> bool:
    """This machine, a private address, or a name without a dot: another container's, where a sandbox may run."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return is_loopback_host(host) or "." not in host


WEBHOOK_PATH = "/api/webhooks/replicate"


def webhook_url(value: Any) -> str:
    """The public URL without the path, without a trailing slash; plain http only to a loopback host.

    Users paste the whole endpoint too: the path that we append is taken off again.
    """
    url = _bare_url(value)
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback_host(parts.hostname):
        raise ValueError("https:// is expected: Replicate sends webhooks to https only (http:// is for loopback only)")
    return url.removesuffix(WEBHOOK_PATH).rstrip("/")


def origins(value: Any) -> tuple[str, ...]:
    """Origins, ``scheme://host[:port]``, in lower case without default port."""
    found = []
    for entry in items(value):
        parts = urlsplit(http_url(entry))
        if parts.path.strip("/") or "?" in entry:
            raise ValueError(f"{entry!r}: an origin is a scheme, a host and perhaps a port, without a path")
        found.append(origin_of(entry))
    return tuple(found)


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` of a URL, in lower case, the default port left out."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = parts.port
    return f"{parts.scheme.lower()}://{host}" + ("" if port in {None, default} else f":{port}")


def database_url(value: Any) -> str:
    """``postgresql://…`` or ``sqlite:///…``; a driver may be named where it is the one that we use."""
    url = text(value)
    if urlsplit(url).scheme not in {"sqlite", "sqlite+aiosqlite", "postgresql", "postgres", "postgresql+psycopg"}:
        raise ValueError("postgresql://… or sqlite:///… is expected")
    return url


def admin_token(value: Any) -> str:
    """Any text that fits into an ``Authorization`` header: printable ASCII without blanks."""
    secret = text(value)
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ValueError("letters, digits and signs of ASCII without blanks are expected")
    return secret


def webhook_secrets(value: Any) -> tuple[str, ...]:
    """``whsec_…`` secrets, separated by blanks (or commas); each must decode."""
    raw = " ".join(items(value)) if isinstance(value, (list, tuple)) else text(value)
    found = tuple(raw.replace(",", " ").split())
    for secret in found:
        decode_webhook_secret(secret)
    if not found:
        raise ValueError("at least one whsec_… secret is expected")
    return found


def decode_webhook_secret(secret: str) -> bytes:
    """The HMAC key of a ``whsec_`` secret: base64 after the prefix (Standard Webhooks)."""
    if not secret.startswith("whsec_"):
        raise ValueError("a secret begins with whsec_")
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret is base64 after whsec_") from None
    if not key:
        raise ValueError("a secret is not empty")
    return key


def model(value: Any) -> str:
    """``owner/name``, as Replicate writes it."""
    name = text(value)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise ValueError("owner/name is expected")
    return name
