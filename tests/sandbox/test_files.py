"""The Files API, by hand; `test_client.py` has the published client do it."""

from __future__ import annotations

import hashlib
import time

import aiohttp
import pytest

from daemon.sandbox import Sandbox
from tests.sandbox.conftest import Api


def form(data: bytes, *, name: str = "test_file.txt", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData()
    made.add_field("content", data, filename=name, content_type="text/plain")
    for field, value in fields.items():
        made.add_field(field, value, content_type="application/json" if field == "metadata" else None)
    return made


async def test_upload_get_list_delete(api: Api, sandbox: Sandbox) -> None:
    data = b"hello\r\n--x"
    made = await api.call("POST", "/v1/files", data=form(data, metadata='{"a":1}'), status=201)
    assert (made["name"], made["content_type"], made["size"]) == ("test_file.txt", "text/plain", len(data))
    assert made["etag"] == made["checksums"]["md5"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert made["checksums"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert made["metadata"] == {"a": 1}
    assert sandbox.uploads[made["id"]].data == data
    assert await api.call("GET", made["urls"]["get"]) == made
    assert (await api.call("GET", "/v1/files"))["results"] == [made]
    assert await api.call("DELETE", f"/v1/files/{made['id']}", status=204) is None
    assert (await api.call("GET", "/v1/files"))["results"] == []
    for method in ("GET", "DELETE"):
        assert await api.call(method, f"/v1/files/{made['id']}", status=404) == {"detail": "File not found"}


async def test_the_limit(api: Api, sandbox: Sandbox) -> None:
    assert sandbox.faults.file_limit_bytes == 100 * 1024 * 1024
    sandbox.faults.file_limit_bytes = 1_000_000
    await api.call("POST", "/v1/files", data=form(bytes(1_000_000)), status=201)
    refused = await api.call("POST", "/v1/files", data=form(bytes(1_000_001)), status=413)
    assert refused == {"detail": "Files must be less than 100MB in size"}
    assert len(sandbox.uploads) == 1


async def test_names_types_and_refusals(api: Api) -> None:
    made = await api.call(
        "POST", "/v1/files", data=form(b"x", filename="other.zip", type="application/zip"), status=201
    )
    assert (made["name"], made["content_type"]) == ("other.zip", "application/zip")
    await api.call("POST", "/v1/files", data=form(b"x", filename="x" * 256), status=400)
    await api.call("POST", "/v1/files", data=form(b"x", metadata="[]"), status=400)
    await api.call("POST", "/v1/files", json={}, status=400)
    empty = aiohttp.FormData(default_to_multipart=True)
    empty.add_field("filename", "x")
    await api.call("POST", "/v1/files", data=empty, status=400)


async def test_they_expire(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.file_ttl = 0
    made = await api.call("POST", "/v1/files", data=form(b"x"), status=201)
    await api.call("GET", made["urls"]["get"], status=404)
    assert (await api.call("GET", "/v1/files"))["results"] == []


@pytest.mark.parametrize(("owner", "life", "status"), [("acme", 60, 200), ("else", 60, 401), ("acme", -60, 401)])
async def test_download_by_signature(sandbox: Sandbox, api: Api, owner: str, life: int, status: int) -> None:
    made = await api.call("POST", "/v1/files", data=form(b"content"), status=201)
    expiry = str(int(time.time()) + life)
    signature = sandbox.platform.uploads.signature(owner, made["id"], expiry)
    url = f"{sandbox.url}/v1/files/{made['id']}/download"
    async with aiohttp.ClientSession() as session:
        query = {"owner": owner, "expiry": expiry, "signature": signature}
        async with session.get(url, params=query) as answer:
            assert answer.status == status
            if status == 200:
                assert await answer.read() == b"content"
        async with session.get(url, params=query | {"signature": "wrong"}) as answer:
            assert answer.status == 401
