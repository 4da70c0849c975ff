"""What the log says of one webhook: of a stored one its number, where that is asked for; of a refused one its id."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from daemon.web.refusals import ID_CHARS, named
from tests.support.signed import OTHER_SECRET, PATH, SECRET, prediction, signed
from tests.support.webapp import running_app

PINNED = {"TUNERD_WEBHOOK_SECRET": SECRET}
STORED = "event stored"


@pytest.fixture(autouse=True)
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    before, asked = structlog.get_config()["wrapper_class"], getattr(request, "param", logging.INFO)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(asked))
    yield
    structlog.configure(wrapper_class=before)


@pytest.mark.parametrize("level", [logging.DEBUG], indirect=True, ids=["debug"])
async def test_a_stored_event_is_told_once(tmp_path: Path) -> None:
    body = prediction("p1", status="processing")
    async with running_app(tmp_path, environ=PINNED) as served:
        with capture_logs() as lines:
            for _ in range(2):
                async with served.session.post(served.url + PATH, data=body, headers=signed(body, "msg_7")) as answer:
                    assert answer.status == 200
                    job_id = (await answer.json())["job_id"]
        [event] = (await served.get("/api/cloud/events"))["events"]
    [line] = [line for line in lines if line["event"] == STORED]
    assert line == {
        "event": STORED,
        "log_level": "debug",
        "seq": event["seq"],
        "webhook_id": "msg_7",
        "job_id": job_id,
        "kind": event["event"],
        "source": "webhook",
    }


async def test_nobody_is_told_unasked(tmp_path: Path) -> None:
    body = prediction()
    async with running_app(tmp_path, environ=PINNED) as served:
        with capture_logs() as lines:
            async with served.session.post(served.url + PATH, data=body, headers=signed(body)) as answer:
                assert answer.status == 200
    assert STORED not in [line["event"] for line in lines]


async def test_a_refused_one_is_named(tmp_path: Path) -> None:
    body = prediction()
    async with running_app(tmp_path, environ=PINNED) as served:
        with capture_logs() as lines:
            for headers in (signed(body, "msg_8", secret=OTHER_SECRET), {}):
                async with served.session.post(served.url + PATH, data=body, headers=headers) as answer:
                    assert answer.status == 401
    told = [line.get("webhook_id") for line in lines if line["event"] == "request refused"]
    assert told == ["msg_8", None]


def test_a_foreign_id_cannot_fill_or_forge_a_line() -> None:
    assert named({}) == named({"webhook-id": ""}) == {}
    assert named({"webhook-id": "a\x1b[2J\n\u2028b"}) == {"webhook_id": "a?[2J??b"}
    assert named({"webhook-id": "x" * 5000}) == {"webhook_id": "x" * ID_CHARS}
