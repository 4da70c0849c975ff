"""The hashes that servers announce: believed where they are surely of the file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from awscrt.checksums import crc32c

from daemon.delivery.errors import Permanent
from daemon.delivery.fetch import Fetcher
from tests.support.fetching import answer, attempt, until_done
from tests.support.outputs import OutputServer, sha256

DATA = bytes(range(256)) * 4000
WRONG = DATA[::-1]


def crc(content: bytes) -> str:
    return f"crc32c={base64.b64encode(crc32c(content).to_bytes(4, 'big')).decode()}"


def digest(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"x_goog_hash": crc(DATA)}, "CRC32C"),  # a composite object has no MD5
        ({"Server": "AmazonS3", "ETag": digest(DATA)}, "MD5"),
        ({"Server": "AmazonS3", "ETag": digest(DATA), "x_amz_server_side_encryption": "AES256"}, "MD5"),
    ],
)
async def test_what_came_is_another_file(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, headers: dict[str, str], named: str
) -> None:
    server.script["/x"] = [answer(WRONG, **headers), answer(DATA, **headers)]
    reasons = await until_done(fetcher, f"{server.url}/x", tmp_path / "x")
    assert reasons == [f"the {named} of what came is not the one that the server announced"]
    assert (tmp_path / "x").read_bytes() == DATA
    server.script["/y"] = [answer(WRONG, **headers)] * 3
    with pytest.raises(Permanent, match="3 times"):
        await until_done(fetcher, f"{server.url}/y", tmp_path / "y")
    assert len(server.seen("/y")) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": digest(DATA)},  # anybody's: it may be anything
        {"Server": "AmazonS3", "ETag": digest(DATA), "x_amz_server_side_encryption": "aws:kms"},
        {"Server": "AmazonS3", "ETag": digest(DATA)[:-1] + '-3"'},  # of several parts
        {"x_goog_hash": "md5=%%%,crc32c=AAAA"},
        {"x_goog_hash": "sha1=abc"},
    ],
)
async def test_what_is_no_hash_of_the_file_is_not_compared(
    fetcher: Fetcher, server: OutputServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.script["/x"] = [answer(WRONG, **headers)]
    assert (await attempt(fetcher, f"{server.url}/x", tmp_path / "x")).sha256 == sha256(WRONG)
