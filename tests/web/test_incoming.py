"""How a webhook comes in: its path, head and body as the wire may bring them, within their bounds."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from daemon.web.receiver import RECEIVER
from tests.support.signed import PATH, Raw, prediction, request_bytes, signed
from tests.support.waiting import until
from tests.support.webapp import Served
from tests.web.conftest import post

MIB = 1024 * 1024


async def test_repeated_headers(served: Served) -> None:
    headers = signed(b"{}")
    for name in ("webhook-id", "webhook-timestamp"):
        lines = [*headers.items(), (name, headers[name])]
        await served.problem("POST", PATH, status=401, code="signature_invalid", data=b"{}", headers=lines)
    signatures = [*headers.items(), ("webhook-signature", "v1,AAAA")]
    assert (await served.call("POST", PATH, data=b"{}", headers=signatures))["status"] == "accepted"


async def test_header_bytes_that_are_no_text(served: Served) -> None:
    raw = await Raw.open(served.url)
    await raw.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nwebhook-id: \xff\xfe\r\n" % PATH.encode())
    await raw.send(b"webhook-timestamp: \xd9\xa1\r\nwebhook-signature: v1,\xc3\xa9\xff \xff\r\n\r\n{}")
    status, _, found = await raw.answer()
    assert (status, found["code"]) == (401, "signature_invalid")
    await raw.close()


async def test_content_encoding_is_only_a_header(served: Served) -> None:
    for number, body in enumerate((gzip.compress(prediction()), b"not gzip at all")):
        headers = {**signed(body, f"msg_{number}"), "Content-Encoding": "gzip"}
        assert (await post(served, body, headers))["event"] == "unrecognized"
        kept = await served.store.journal.body(number + 1)
        assert kept is not None
        assert kept.body == body


async def test_a_chunked_body(served: Served) -> None:
    body = prediction(logs="x" * 200_000)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7919):
            yield body[start : start + 7919]

    answer = await served.call("POST", PATH, data=chunks(), headers=signed(body))
    assert answer["event"] == "logs"


async def test_a_large_body_is_verified_off_the_loop(served: Served) -> None:
    body = prediction(logs="x" * 700_000)
    assert (await post(served, body, signed(body)))["event"] == "logs"
    await served.problem("POST", PATH, status=401, code="signature_invalid", data=body + b" ", headers=signed(body))


async def test_too_large_with_a_length(served: Served) -> None:
    raw = await Raw.open(served.url)
    await raw.send(request_bytes(Content_Length=str(MIB + 1)))  # and not one byte of the body
    status, headers, found = await raw.answer()
    assert (status, found["code"], headers["content-type"]) == (413, "body_too_large", "application/problem+json")
    await raw.close()


async def test_too_large_without_a_length(served: Served) -> None:
    raw = await Raw.open(served.url)
    await raw.send(request_bytes(Content_Length="", Transfer_Encoding="chunked"))
    sent = 0
    try:
        while sent < 4 * MIB:
            await raw.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
    except ConnectionError:
        pass
    status, _, found = await raw.answer()
    assert (status, found["code"]) == (413, "body_too_large")
    await raw.close()


async def test_exactly_the_limit(served: Served) -> None:
    body = b"x" * MIB
    assert (await post(served, io.BytesIO(body), signed(body)))["event"] == "unrecognized"
    over = {"data": io.BytesIO(body + b"x"), "headers": signed(body + b"x")}
    await served.problem("POST", PATH, status=413, code="body_too_large", **over)


async def test_a_body_whose_chunks_are_broken(served: Served) -> None:
    raw = await Raw.open(served.url)
    await raw.send(request_bytes(Content_Length="", Transfer_Encoding="chunked") + b"zz\r\nhello\r\n0\r\n\r\n")
    status, _, found = await raw.answer()
    assert (status, found["code"]) == (400, "invalid_request")
    await raw.close()


async def test_a_client_that_leaves_half_way_is_no_fault_of_ours(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = await Raw.open(served.url)
    await raw.send(request_bytes(Content_Length="1000") + b"half")
    await asyncio.sleep(0.1)
    await raw.close()
    await asyncio.sleep(0.1)
    assert await served.store.journal.last_seq() == 0
    written = capsys.readouterr()
    assert "request failed" not in written.out + written.err


@pytest.mark.parametrize("path", [PATH, "/api/webhooks/%72eplicate", f"{PATH}?job=x&job=y#z", f"{PATH}?"])
async def test_every_spelling_of_the_path_reaches_the_receiver(served: Served, path: str) -> None:
    body, raw = prediction(), await Raw.open(served.url)
    head = {name.replace("-", "_"): value for name, value in signed(body).items()}
    await raw.send(request_bytes(body, path=path, **head))
    status, headers, found = await raw.answer()
    assert (status, found["status"], found["job_id"]) == (200, "accepted", "job_p1")
    assert headers["x-content-type-options"] == "nosniff"
    await raw.send(request_bytes(b"{}", path=path))  # on the same connection
    assert (await raw.answer())[2]["code"] == "signature_missing"
    await raw.close()


async def test_a_sender_that_asks_first(served: Served) -> None:
    body, raw = prediction(), await Raw.open(served.url)
    head = {name.replace("-", "_"): value for name, value in signed(body).items()}
    await raw.send(request_bytes(path=PATH, Content_Length=str(len(body)), Expect="100-continue", **head))
    assert b" 100 " in await raw.reader.readuntil(b"\r\n\r\n")
    await raw.send(body)
    assert (await raw.answer())[2]["status"] == "accepted"
    await raw.close()


async def test_pipelined_events_are_answered_in_order(served: Served) -> None:
    raw, count = await Raw.open(served.url), 50
    for number in range(count):
        body = prediction(f"p{number}")
        head = {name.replace("-", "_"): value for name, value in signed(body, f"msg_{number}").items()}
        raw.writer.write(request_bytes(body, **head))
    for number in range(count):
        assert (await raw.answer())[2]["job_id"] == f"job_p{number}"
    await raw.close()


async def test_over_a_unix_socket(served: Served, tmp_path: Path) -> None:
    assert served.server.runner is not None
    await web.UnixSite(served.server.runner, tmp_path / "s").start()
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "s"))) as session:
        for number, more in enumerate(({}, {"X-Forwarded-For": "198.51.100.7"})):
            headers = signed(b"{}", f"msg_{number}", **more)
            async with session.post(f"http://proxied.example{PATH}", data=b"{}", headers=headers) as answer:
                assert answer.status == 200
    assert [row.source_ip for row in await served.store.journal.events()] == [None, "198.51.100.7"]


async def test_bodies_that_arrive_share_a_bound(served: Served) -> None:
    bodies = served.app[RECEIVER]._bodies
    bodies._most_held = 300_000
    slow = [await Raw.open(served.url) for _ in range(3)]
    for raw in slow:
        await raw.send(request_bytes(Content_Length="200000") + b"x" * 140_000)
    status, headers, found = await slow[2].answer()
    assert (status, found["code"]) == (503, "not_ready")
    assert int(headers["retry-after"]) > 0
    for raw in slow:
        await raw.close()
    body = prediction(logs="x" * 250_000)
    await until(lambda: bodies._held == 0)
    assert (await post(served, body, signed(body)))["status"] == "accepted"
    assert bodies._held == 0
