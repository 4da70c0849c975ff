"""Where outputs may come from: names, and the addresses behind them."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from daemon.core.public import is_public
from daemon.delivery.errors import Permanent
from daemon.delivery.origins import Origins, PublicResolver

ORIGINS = Origins("http://127.0.0.1:9000", ("https://files.example.com", "http://[::1]:8080"))
PUBLIC = Origins("https://api.replicate.com", ())


@pytest.mark.parametrize(
    "url",
    [
        "https://replicate.delivery/xezq/abc/out.png",
        "https://pbxt.replicate.delivery/abc/out.png",
        "https://a.b.replicate.delivery/",
        "https://Replicate.Delivery/out.png",
        "https://replicate.delivery:443/out.png",
        "https://storage.googleapis.com/replicate-files/abc/file",
        "http://127.0.0.1:9000/files/a%2Fb?x=1%2B2",
        "http://[::1]:8080/x",
        "https://files.example.com/x",
    ],
)
def test_allowed(url: str) -> None:
    target = ORIGINS.check(url)
    assert str(target.url).partition("//")[2].partition("/")[2] == url.partition("//")[2].partition("/")[2]
    assert target.is_api == url.startswith("http://127.0.0.1:9000")


@pytest.mark.parametrize(
    "url",
    [
        "http://replicate.delivery/x",  # not encrypted
        "https://xreplicate.delivery/x",
        "https://replicate.delivery.evil.com/x",
        "https://replicate.delivery:8443/x",
        "https://replicate.delivery./x",
        "https://.replicate.delivery/x",
        "https://a..replicate.delivery/x",
        "https://-a.replicate.delivery/x",
        "https://user@replicate.delivery/x",
        "https://replicate.delivery@evil.com/x",
        "https://replicate.delivery:443@evil.com/x",
        "https://evil.com\\@replicate.delivery/x",
        "https://evil.com/\\replicate.delivery",
        "https://evil.com?@replicate.delivery/x",
        "https://evil.com#.replicate.delivery/x",
        "https://réplicate.delivery/x",
        "https://replicate。delivery/x",
        "https://%72eplicate.delivery/x",
        "https://replicate.delivery:99999/x",
        "https://replicate.delivery:/x",
        "https:///x",
        "https://",
        "https:replicate.delivery/x",
        "//replicate.delivery/x",
        "https://replicate.delivery/\x00x",
        "https://replicate.delivery/x\r\nHost: evil",
        "https://replicate.delivery/" + "x" * 20_000,
        "https://storage.googleapis.com/other-bucket/x",
        "https://storage.googleapis.com/replicate-files-evil/x",
        "https://storage.googleapis.com/replicate-files/../evil/x",
        "https://storage.googleapis.com/replicate-files/%2E%2e/evil/x",
        "https://storage.googleapis.com/replicate-files/..%2Fevil/x",
        "https://storage.googleapis.com/replicate-files/./../evil/x",
        "https://127.0.0.1:9000/x",  # the scheme belongs to the origin
        "http://127.0.0.1:9001/x",
        "http://127.0.0.1/x",
        "http://127.1:9000/x",
        "http://2130706433:9000/x",
        "http://0x7f.0.0.1:9000/x",
        "http://[::ffff:127.0.0.1]:9000/x",
        "http://localhost:9000/x",
        "http://files.example.com/x",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x",
        "https://[fd00:ec2::254]/x",
        "file:///etc/passwd",
        "ftp://replicate.delivery/x",
        "gopher://replicate.delivery/x",
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(Permanent, match="refused"):
        ORIGINS.check(url)


def test_the_url_is_sent_as_it_was_written() -> None:
    url = "https://replicate.delivery/a%2Fb/%7E?sig=%2B%3d"
    assert str(PUBLIC.check(url).url) == url
    assert str(PUBLIC.check("https://replicate.delivery/na\u00efve.png").url).endswith("/na%C3%AFve.png")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2607:f8b0:4004::1", True),
        ("64:ff9b::808:808", True),  # NAT64: the IPv4 inside counts
        ("2002:808:808::1", True),
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("127.0.0.1", False),
        ("127.255.255.255", False),
        ("168.63.129.16", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("203.0.113.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::1", False),
        ("100::1", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("not an address", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


class Names(AbstractResolver):
    """A name service with the answers that a test gives it."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): addresses for name, addresses in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.answers[host]
        ]

    async def close(self) -> None: ...


async def test_one_private_address_among_public_ones_is_enough() -> None:
    resolver = PublicResolver(PUBLIC, Names(replicate_delivery=["8.8.8.8", "10.0.0.7"]))
    with pytest.raises(Permanent, match=r"replicate\.delivery resolves to 10\.0\.0\.7"):
        await resolver.resolve("replicate.delivery", 443)


async def test_an_origin_of_the_users_own_may_be_private() -> None:
    names = Names(files_example_com=["10.0.0.7"], replicate_delivery=["8.8.8.8"])
    resolver = PublicResolver(ORIGINS, names)
    assert (await resolver.resolve("files.example.com", 443))[0]["host"] == "10.0.0.7"
    assert (await resolver.resolve("replicate.delivery", 443))[0]["host"] == "8.8.8.8"
    with pytest.raises(Permanent):
        await resolver.resolve("files.example.com", 8443)  # another origin
