"""The receiver's table, row by row and in its order, over the real store and a real port."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daemon import keys
from daemon.web.receiver import RECEIVER
from tests.support.signed import OTHER_SECRET, PATH, SECRET, Raw, prediction, request_bytes, signed
from tests.support.webapp import Served, running_app

MIB = 1024 * 1024


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    environ = {"TUNERD_WEBHOOK_SECRET": f"{OTHER_SECRET} {SECRET}", "TUNERD_MAX_BODY_MIB": "1"}
    async with running_app(tmp_path, environ=environ) as served:
        yield served


async def post(served: Served, body: object, headers: dict[str, str], status: int = 200, path: str = PATH) -> Any:
    return await served.call("POST", path, status=status, data=body, headers=headers)


async def refused(served: Served, body: bytes, headers: dict[str, str], status: int, code: str) -> Any:
    found = await served.problem("POST", PATH, status=status, code=code, data=body, headers=headers)
    assert found["status"] == status
    assert found["title"]
    assert found["type"]
    assert await served.store.journal.last_seq() == 0  # nothing was kept
    return found


async def test_stored_then_duplicate(served: Served) -> None:
    body = prediction(logs="a\n")
    accepted = await post(served, body, signed(body))
    assert accepted == {"status": "accepted", "event": "logs", "job_id": accepted["job_id"]}
    again = await post(served, body, signed(body, at=time.time() + 2))
    assert again == {**accepted, "status": "duplicate"}
    (row,) = await served.store.journal.events()
    assert (row.webhook_id, row.source, row.source_ip, row.verified) == ("msg_1", "webhook", "127.0.0.1", True)
    kept = await served.store.journal.body(row.seq)
    assert kept is not None
    assert kept.body == body
    job = await served.store.jobs.get("p1")
    assert job is not None
    assert (job.job_id, job.submitted) == (accepted["job_id"], False)


@pytest.mark.parametrize("body", [b"", b"null", b"not json", b"\x00\xff", b'{"id":1,"status":"x"}', b'["succeeded"]'])
async def test_signed_but_no_prediction(served: Served, body: bytes) -> None:
    answer = await post(served, body, signed(body))
    assert answer == {"status": "accepted", "event": "unrecognized", "job_id": None}
    kept = await served.store.journal.body(1)
    assert kept is not None
    assert kept.body == body


async def test_a_completed_job_wakes_the_delivery_once(served: Served) -> None:
    body = prediction(status="succeeded", output="https://replicate.delivery/a.png")
    assert (await post(served, body, signed(body)))["event"] == "completed"
    await post(served, body, signed(body))
    assert len(served.wakes) == 1


async def test_two_hundred_at_once_with_one_id(served: Served) -> None:
    body = prediction()
    answers = await asyncio.gather(*(post(served, body, signed(body)) for _ in range(200)))
    assert sorted(answer["status"] for answer in answers) == ["accepted", *["duplicate"] * 199]
    assert await served.store.journal.last_seq() == 1


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
async def test_every_live_secret_counts(served: Served, secret: str) -> None:
    body = prediction()
    assert (await post(served, body, signed(body, secret=secret)))["status"] == "accepted"


async def test_the_manual_curl_is_told_that_it_arrived(served: Served) -> None:
    found = await refused(served, b"{}", {"Content-Type": "application/json"}, 401, "signature_missing")
    assert "reached" in found["detail"]
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert name in found["detail"]


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, ""])
async def test_a_header_is_missing(served: Served, name: str, value: str | None) -> None:
    headers = signed(b"{}")
    del headers[name]
    if value is not None:
        headers[name] = value
    found = await refused(served, b"{}", headers, 401, "signature_missing")
    assert name in found["detail"]


async def test_signature_invalid(served: Served) -> None:
    headers = signed(b"{}")
    await refused(served, b'{"a":1}', headers, 401, "signature_invalid")
    await refused(served, b"{}", {**headers, "webhook-id": "msg_2"}, 401, "signature_invalid")
    v2 = headers["webhook-signature"].replace("v1", "v2")
    await refused(served, b"{}", {**headers, "webhook-signature": v2}, 401, "signature_invalid")
    await refused(served, b"{}", {**headers, "webhook-timestamp": "0"}, 401, "signature_invalid")  # before the time


@pytest.mark.parametrize("off", [-302, 302, -1e9])
async def test_timestamp_out_of_tolerance(served: Served, off: float) -> None:
    headers = signed(b"{}", at=time.time() + off)
    found = await refused(served, b"{}", headers, 401, "timestamp_out_of_tolerance")
    assert "clock" in found["detail"]


@pytest.mark.parametrize("off", [-298, 298])
async def test_timestamp_within_tolerance(served: Served, off: float) -> None:
    await post(served, b"{}", signed(b"{}", at=time.time() + off))


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


async def test_closing(served: Served) -> None:
    served.app[keys.CLOSING].set()
    async with served.session.post(served.url + PATH, data=b"{}", headers=signed(b"{}")) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert (await answer.json(content_type=None))["code"] == "not_ready"


async def test_the_store_cannot_be_written(served: Served) -> None:
    served.store.journal.writer.cancel()
    await asyncio.sleep(0)
    async with served.session.post(served.url + PATH, data=b"{}", headers=signed(b"{}")) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert json.loads(await answer.read())["code"] == "not_ready"


@pytest.mark.parametrize(
    "path", [PATH + "/", PATH + "/x", "/api/webhooks", "/api/webhooks/Replicate", "/api//webhooks/replicate"]
)
async def test_other_paths_are_404_and_never_a_redirect(served: Served, path: str) -> None:
    headers = {**signed(b"{}"), "X-Forwarded-For": "203.0.113.9"}
    if path.startswith("/api/webhooks"):
        await served.problem("POST", path, status=404, code="not_found", data=b"{}", headers=headers)
    else:
        await served.problem("POST", path, status=401, code="unauthorized", data=b"{}", headers=headers)
    await served.problem("POST", path, status=404, code="not_found", data=b"{}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_wrong_methods(served: Served, method: str) -> None:
    found = await served.problem(method, PATH, status=405, code="method_not_allowed")
    assert "POST" in found["detail"]


async def test_the_answer_has_security_headers_and_no_stack(served: Served) -> None:
    for headers in (signed(b"{}"), {}):
        async with served.session.post(served.url + PATH, data=b"{}", headers=headers) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert b"Traceback" not in await answer.read()


async def test_the_job_hint_binds_nothing_that_has_an_id(served: Served) -> None:
    body = prediction("p9")
    answer = await post(served, body, signed(body), path=f"{PATH}?job=job_42&x=1")
    assert answer["job_id"] == "job_p9"


async def test_outcomes_are_counted(served: Served) -> None:
    await post(served, b"{}", signed(b"{}"))
    await post(served, b"{}", signed(b"{}"))
    await served.problem("POST", PATH, status=401, code="signature_missing", data=b"{}")
    async with served.session.get(served.url + "/metrics") as answer:
        text = await answer.text()
    for outcome in ("unrecognized", "duplicate", "signature_missing"):
        assert f'tunerd_webhook_requests_total{{outcome="{outcome}"}} 1.0' in text
    assert "tunerd_webhook_receive_seconds_count 2.0" in text


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
    for _ in range(100):
        if bodies._held == 0:
            break
        await asyncio.sleep(0.02)
    assert (await post(served, body, signed(body)))["status"] == "accepted"
    assert bodies._held == 0
