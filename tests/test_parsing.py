from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import parsing

HOME = Path("/home/ada")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

ACCEPTED: list[tuple[Callable[[Any], Any], Any, Any]] = [
    (parsing.text, " a b ", "a b"),
    (parsing.boolean, "YES ", True),
    (parsing.boolean, "off", False),
    (parsing.boolean, True, True),
    (parsing.number(0, 10), " 2.5", 2.5),
    (parsing.number(0, 10), 10, 10.0),
    (parsing.integer(1, 64), " 32 ", 32),
    (parsing.integer(-5, 5), "-5", -5),
    (parsing.one_of("warn", "block"), " warn ", "warn"),
    (parsing.items, "a, b,,", ["a", "b"]),
    (parsing.items, ["a ", " "], ["a"]),
    (parsing.networks, "34.82.0.0/16, 10.1.2.3 ,::1", ("34.82.0.0/16", "10.1.2.3", "::1")),
    (parsing.networks, "", ()),
    (
        parsing.listeners,
        "127.0.0.1:8080, [::1]:80,unix:/run/t.sock,my-host_1.lan:0",
        ("127.0.0.1:8080", "[::1]:80", "unix:/run/t.sock", "my-host_1.lan:0"),
    ),
    (parsing.http_url, "HTTPS://Host/Path", "https://Host/Path"),
    (parsing.base_url, "https://api.replicate.com/v1/", "https://api.replicate.com"),
    (parsing.base_url, "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    (parsing.base_url, "http://sandbox:8089/v1", "http://sandbox:8089"),
    (parsing.base_url, "http://10.0.0.5:8089", "http://10.0.0.5:8089"),
    (parsing.webhook_url, "https://t.example/", "https://t.example"),
    (parsing.webhook_url, "https://t.example/api/webhooks/replicate/", "https://t.example"),
    (parsing.webhook_url, "https://t.example/prefix", "https://t.example/prefix"),
    (parsing.webhook_url, "http://localhost:8080", "http://localhost:8080"),
    (parsing.origins, "https://A.example:443/, http://b.example:8080", ("https://a.example", "http://b.example:8080")),
    (parsing.origins, ["https://[::1]:8443"], ("https://[::1]:8443",)),
    (parsing.database_url, "postgresql://u:p@h/d", "postgresql://u:p@h/d"),
    (parsing.admin_token, " s3cr3t-~ ", "s3cr3t-~"),
    (parsing.webhook_secrets, f"{SECRET} {SECRET},{SECRET}", (SECRET,) * 3),
    (parsing.webhook_secrets, [SECRET], (SECRET,)),
    (parsing.model, "simpletuner/advanced-trainer", "simpletuner/advanced-trainer"),
]

REFUSED: list[tuple[Callable[[Any], Any], Any, str]] = [
    (parsing.text, "a\nb", "control characters"),
    (parsing.text, " ", "text"),
    (parsing.text, 5, "text"),
    (parsing.boolean, "maybe", "true or false"),
    (parsing.boolean, 1, "true or false"),
    (parsing.number(0, 10), "nan", "from 0 to 10"),
    (parsing.number(0, 10), "1e400", "from 0 to 10"),
    (parsing.number(0, 10), 10**400, "number"),
    (parsing.number(0, 10), True, "number"),
    (parsing.integer(1, 64), "1.0", "whole"),
    (parsing.integer(1, 64), "٣", "whole"),
    (parsing.integer(1, 64), "65", "1 to 64"),
    (parsing.integer(1, 64), [1], "whole"),
    (parsing.one_of("warn", "block"), "WARN", "warn, block"),
    (parsing.one_of("warn", "block"), ["warn"], "warn, block"),
    (parsing.items, {"a": 1}, "list"),
    (parsing.items, [1], "texts"),
    (parsing.networks, "34.82.1.0/16", "host bits"),
    (parsing.networks, "34.82.0.0/33", "not an address"),
    (parsing.listeners, " , ", "at least one"),
    (parsing.listeners, "8080", "HOST:PORT"),
    (parsing.listeners, ":8080", "HOST:PORT"),
    (parsing.listeners, "h:65536", "HOST:PORT"),
    (parsing.listeners, "h:80 0", "HOST:PORT"),
    (parsing.listeners, "a b:80", "HOST:PORT"),
    (parsing.listeners, "http://127.0.0.1:8080", "HOST:PORT"),
    (parsing.listeners, "::1:8080", "brackets"),
    (parsing.listeners, "[nope]:8080", "nope"),
    (parsing.listeners, "unix:run/t.sock", "absolute"),
    (parsing.http_url, "ftp://h", "https"),
    (parsing.http_url, "https://", "https"),
    (parsing.http_url, "https://h/a b", "https"),
    (parsing.http_url, "https://u@h", "user name"),
    (parsing.http_url, "https://h:99999", "ort"),
    (parsing.http_url, "https://h/#", "fragment"),
    (parsing.http_url, "https://[::1", "IPv6"),
    (parsing.base_url, "http://api.replicate.com", "clear"),
    (parsing.base_url, "http://8.8.8.8", "clear"),
    (parsing.base_url, "https://h?x", "query"),
    (parsing.webhook_url, "http://t.example", "https only"),
    (parsing.webhook_url, "t.example", "https"),
    (parsing.webhook_url, "https://t.example/?", "query"),
    (parsing.origins, "https://h/path", "origin"),
    (parsing.origins, "https://h/?", "origin"),
    (parsing.database_url, "mysql://h/d", "postgresql"),
    (parsing.database_url, "postgresql+asyncpg://h/d", "postgresql"),
    (parsing.admin_token, "a b", "blanks"),
    (parsing.admin_token, "пароль", "ASCII"),
    (parsing.webhook_secrets, "secret", "whsec_"),
    (parsing.webhook_secrets, "whsec_###", "base64"),
    (parsing.webhook_secrets, "whsec_", "empty"),
    (parsing.webhook_secrets, [1], "texts"),
    (parsing.webhook_secrets, [], "at least one"),
    (parsing.model, "owner", "owner/name"),
    (parsing.model, "owner/../x", "owner/name"),
]


@pytest.mark.parametrize(("parse", "raw", "expected"), ACCEPTED)
def test_accepted(parse: Callable[[Any], Any], raw: Any, expected: Any) -> None:
    assert parse(raw) == expected


@pytest.mark.parametrize(("parse", "raw", "reason"), REFUSED)
def test_refused_with_the_reason(parse: Callable[[Any], Any], raw: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(raw)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PARSERS = sorted({parse for parse, *_ in ACCEPTED}, key=lambda parse: parse.__qualname__)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__qualname__)
@given(raw=ANY | st.text(alphabet="htps:/[]@?#.:0123456789ab%~\\ ,"))
def test_whatever_comes_is_a_value_or_a_value_error(parse: Callable[[Any], Any], raw: Any) -> None:
    with contextlib.suppress(ValueError):
        parse(raw)


@given(raw=st.text(alphabet="abc01.-_:[]/ ", max_size=20))
def test_a_listener_that_is_accepted_can_be_split(raw: str) -> None:
    try:
        found = parsing.listeners(raw)
    except ValueError:
        return
    for entry in found:
        parsing.split_listener(entry)


@pytest.mark.parametrize(
    ("raw", "expected"), [("~", HOME), ("~/out", HOME / "out"), ("/srv/x", Path("/srv/x")), (" /a b ", Path("/a b"))]
)
def test_paths(raw: str, expected: Path) -> None:
    assert parsing.path(raw, HOME) == expected


@pytest.mark.parametrize("raw", ["relative", "~bob/x", "", 5, "/a\0b"])
def test_refused_paths(raw: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        parsing.path(raw, HOME)


def test_listeners_split() -> None:
    assert parsing.split_listener("127.0.0.1:8080") == ("127.0.0.1", 8080)
    assert parsing.split_listener("[0:0::1]:80") == ("::1", 80)
    assert parsing.split_listener("unix:/run/t.sock") == Path("/run/t.sock")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST.", "a.localhost"]
)
def test_loopback(host: str) -> None:
    assert parsing.is_loopback_host(host)


@pytest.mark.parametrize(
    "host", [None, "", "0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_not_loopback(host: str | None) -> None:
    assert not parsing.is_loopback_host(host)


@given(key=st.binary(min_size=1, max_size=80))
def test_secrets_decode_to_their_key(key: bytes) -> None:
    assert parsing.decode_webhook_secret("whsec_" + base64.b64encode(key).decode()) == key


def test_origins_are_compared_in_one_form() -> None:
    assert parsing.origin_of("HTTPS://Files.Example:443/x?y#z") == "https://files.example"
    assert parsing.origin_of("http://[::1]:80/") == "http://[::1]"
    assert parsing.origin_of("https://h:8443") == "https://h:8443"
