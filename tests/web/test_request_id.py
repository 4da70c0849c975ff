"""Every answer and every line that is logged for it carry one id; a trusted proxy's is taken over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.logs import add_request_id
from daemon.web.api import jobs
from tests.support.signed import PATH, SECRET, prediction, signed
from tests.support.webapp import Served, running_app

SECRET_PINNED = {"TUNERD_WEBHOOK_SECRET": SECRET}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path, environ=SECRET_PINNED) as served:
        yield served


async def id_of(served: Served, path: str, method: str = "GET", **options: object) -> str:
    async with served.session.request(method, served.url + path, **options) as answer:  # type: ignore[arg-type]
        await answer.content.readany() if path.endswith("stream") else await answer.read()
        return answer.headers["X-Request-ID"]


async def test_every_kind_of_answer_has_one(served: Served) -> None:
    body = prediction()
    ids = [
        await id_of(served, "/healthz"),
        await id_of(served, "/nothing"),
        await id_of(served, "/api/cloud/jobs/nosuch"),
        await id_of(served, "/api/cloud/jobs", "DELETE"),
        await id_of(served, "/api/cloud/events/stream"),
        await id_of(served, PATH, "POST", data=body, headers=signed(body)),
        await id_of(served, PATH, "POST", data=body),
        await id_of(served, "/readyz"),
    ]
    assert len(set(ids)) == len(ids)


async def test_a_trusted_proxy_s_id_is_taken_over(served: Served) -> None:
    given = "01HV3Z8Q-4f2a_b"
    assert await id_of(served, "/healthz", headers={"X-Request-ID": given}) == given
    body = prediction()
    assert await id_of(served, PATH, "POST", data=body, headers=signed(body, **{"X-Request-ID": given})) == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "\u00e4", 'a"b', "a;b"])
async def test_what_is_no_id_is_not(served: Served, given: str) -> None:
    assert await id_of(served, "/healthz", headers={"X-Request-ID": given}) != given


async def test_a_stranger_s_id_is_not_taken(tmp_path: Path) -> None:
    async with running_app(tmp_path, environ={"TUNERD_TRUSTED_PROXIES": "192.0.2.1"}) as served:
        assert await id_of(served, "/healthz", headers={"X-Request-ID": "mine"}) != "mine"


async def test_a_failure_s_line_and_answer_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(jobs, "job_views", broken)
    with capture_logs(processors=[add_request_id]) as lines:
        async with running_app(tmp_path) as served:
            first, second = await id_of(served, "/api/cloud/jobs"), await id_of(served, "/api/cloud/jobs")
    assert [line["request_id"] for line in lines if line["event"] == "request failed"] == [first, second]


async def test_a_refused_webhook_s_line_has_it(tmp_path: Path) -> None:
    with capture_logs(processors=[add_request_id]) as lines:
        async with running_app(tmp_path, environ=SECRET_PINNED) as served:
            made = await id_of(served, PATH, "POST", data=b"{}")
    (line,) = [line for line in lines if line["event"] == "request refused"]
    assert (line["request_id"], line["code"]) == (made, "signature_missing")
