"""The receiver's table, row by row and in its order, over the real store and a real port."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from daemon import keys
from tests.support.signed import OTHER_SECRET, PATH, SECRET, prediction, signed
from tests.support.webapp import Served
from tests.web.conftest import post


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
