"""Downloads: validators, ranges, hashes, and each way in which they break."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import aiohttp
import pytest

from daemon.sandbox import Sandbox
from daemon.sandbox.content import Content
from tests.sandbox.conftest import Api

SIZE = 600_000


@pytest.fixture
async def url(api: Api) -> str:
    done = await api.run(output=f"file:model.safetensors:{SIZE}", run_seconds=0.1)
    return str(done["output"])


@pytest.fixture
def whole() -> bytes:
    return Content(0, "model.safetensors", SIZE).read()


async def test_a_download_needs_no_token_and_can_be_checked(url: str, whole: bytes) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert await answer.read() == whole
        assert answer.content_length == SIZE
        md5 = hashlib.md5(whole, usedforsecurity=False)
        assert answer.headers["ETag"] == f'"{md5.hexdigest()}"'
        hashes = dict(part.split("=", 1) for part in answer.headers["x-goog-hash"].split(","))
        assert base64.b64decode(hashes["md5"]) == md5.digest()
        assert len(base64.b64decode(hashes["crc32c"])) == 4
        assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["Last-Modified"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=500000-", 500_000, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        ("bytes=599999-900000", SIZE - 1, SIZE),
    ],
)
async def test_ranges(api: Api, url: str, whole: bytes, asked: str, start: int, stop: int) -> None:
    async with api.session.get(url, headers={"Range": asked}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert await answer.read() == whole[start:stop]


@pytest.mark.parametrize("asked", ["bytes=600000-", "bytes=700000-800000"])
async def test_a_range_behind_the_end(api: Api, url: str, asked: str) -> None:
    async with api.session.get(url, headers={"Range": asked}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


async def test_if_range_and_head(api: Api, url: str) -> None:
    async with api.session.head(url) as head:
        etag, modified = head.headers["ETag"], head.headers["Last-Modified"]
        assert head.content_length == SIZE
    for condition, status in ((etag, 206), (modified, 206), ('"other"', 200), ("nonsense", 200)):
        async with api.session.get(url, headers={"Range": "bytes=10-", "If-Range": condition}) as answer:
            assert answer.status == status
    async with api.session.get(url, headers={"Range": "bytes=0-1,5-6"}) as answer:
        assert answer.status == 200


async def test_unknown_files(api: Api, sandbox: Sandbox) -> None:
    async with api.session.get(f"{sandbox.url}/delivery/xezq/none/x.png") as answer:
        assert (answer.status, answer.content_type) == (404, "application/xml")


@pytest.mark.parametrize("fault", ["truncate", "reset"])
async def test_half_of_it_then_nothing(api: Api, sandbox: Sandbox, url: str, whole: bytes, fault: Any) -> None:
    sandbox.faults.output_fault, sandbox.faults.output_fault_next = fault, 1
    got = bytearray()

    async def fetch() -> None:
        async with api.session.get(url) as answer:
            assert answer.content_length == SIZE
            async for chunk in answer.content.iter_any():
                got.extend(chunk)

    with pytest.raises(aiohttp.ClientError):
        await fetch()
    assert len(got) <= SIZE // 2 and whole.startswith(got)
    async with api.session.get(url, headers={"Range": f"bytes={len(got)}-"}) as answer:
        assert bytes(got) + await answer.read() == whole


async def test_other_faults(api: Api, sandbox: Sandbox, url: str, whole: bytes) -> None:
    async def get(**headers: str) -> tuple[int, bytes, Any]:
        async with api.session.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read(), answer.headers

    sandbox.faults.output_fault = "short_length"
    assert (await get())[1] == whole[:-7]
    sandbox.faults.output_fault = "wrong_md5"
    assert (await get())[2]["x-goog-hash"] == "md5=AAAAAAAAAAAAAAAAAAAAAA=="
    sandbox.faults.output_fault = "error"
    assert (await get())[0] == 503
    sandbox.faults.output_fault = "forbidden"
    assert (await get())[0] == 403
    sandbox.faults.output_fault, sandbox.faults.output_ignore_range = "none", True
    assert (await get(Range="bytes=5-"))[:2] == (200, whole)
    sandbox.faults.output_changes = True
    assert (await get())[2]["ETag"] != (await get())[2]["ETag"]
    sandbox.faults.output_md5 = False
    assert (await get())[2]["x-goog-hash"].startswith("crc32c=")
    sandbox.faults.output_redirect = "http://169.254.169.254/latest/meta-data"
    answer = await get()
    assert (answer[0], answer[2]["Location"]) == (302, "http://169.254.169.254/latest/meta-data")


async def test_a_download_that_hangs(api: Api, sandbox: Sandbox, url: str) -> None:
    sandbox.faults.output_fault = "hang"
    with pytest.raises(TimeoutError):
        async with api.session.get(url, timeout=aiohttp.ClientTimeout(total=0.5)) as answer:
            await answer.read()


async def test_slow_and_elsewhere(api: Api, sandbox: Sandbox, whole: bytes) -> None:
    sandbox.faults.output_bytes_per_second = 1_000_000
    sandbox.faults.output_base_url = "https://evil.example"
    done = await api.run(output=f"file:model.safetensors:{SIZE}", run_seconds=0.1)
    assert done["output"].startswith("https://evil.example/delivery/")
    url = done["output"].replace("https://evil.example", sandbox.url)
    with pytest.raises(TimeoutError):
        async with api.session.get(url, timeout=aiohttp.ClientTimeout(total=0.3)) as answer:
            await answer.read()
    async with api.session.get(url) as answer:
        assert await answer.read() == whole


async def test_gigabytes_cost_nothing_until_read(api: Api) -> None:
    done = await api.run(output=f"file:big.bin:{5 << 30}", run_seconds=0.1)
    async with api.session.get(done["output"], headers={"Range": "bytes=5368709100-"}) as answer:
        assert (answer.status, len(await answer.read())) == (206, 20)
        assert "x-goog-hash" not in answer.headers
