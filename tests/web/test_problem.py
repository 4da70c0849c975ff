"""Every error is a problem object; a fault of ours shows nothing of the inside."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from daemon.errors import JobNotFound, NotReady, TunerdError, Unauthorized
from daemon.web.problem import problem
from tests.support.signed import Raw, request_bytes
from tests.support.webapp import Served, running_app


def every_error() -> list[type[TunerdError]]:
    found, waiting = [], [TunerdError]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += [inner for inner in one.__subclasses__() if inner.__module__ == TunerdError.__module__]
    return found


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.__name__)
def test_each_error_has_its_members(error: type[TunerdError]) -> None:
    answer = problem(error("What happened; what to do.", field="version"))
    assert answer.status == error.status
    assert answer.content_type == "application/problem+json"
    assert isinstance(answer.body, bytes)
    found = json.loads(answer.body)
    assert found == {
        "type": f"urn:tunerd:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": "What happened; what to do.",
        "code": error.code,
        "field": "version",
    }


def test_headers_that_belong_to_an_error() -> None:
    assert problem(NotReady("x", retry_after=7)).headers["Retry-After"] == "7"
    assert problem(Unauthorized("x")).headers["WWW-Authenticate"].startswith("Bearer")
    assert "Retry-After" not in problem(JobNotFound("x")).headers


async def crash(_request: web.Request) -> web.Response:
    raise RuntimeError("the inside: r8_secretsecretsecret")


async def crash_half_way(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b"the first half")
    raise RuntimeError("the inside")


async def upstream_broke(_request: web.Request) -> web.Response:
    raise ConnectionResetError("a connection of ours to somebody else")


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    structlog.reset_defaults()
    original = web.Application.freeze

    def freeze(app: web.Application) -> None:
        if not app.frozen and not any(r.canonical == "/crash" for r in app.router.resources()):
            app.router.add_get("/crash", crash)
            app.router.add_get("/crash/half-way", crash_half_way)
            app.router.add_get("/crash/upstream", upstream_broke)
        original(app)

    monkeypatch.setattr(web.Application, "freeze", freeze)
    async with running_app(tmp_path) as served:
        yield served


async def test_a_fault_of_ours(served: Served) -> None:
    with capture_logs() as lines:
        found = await served.problem("GET", "/crash", status=500, code="internal_error")
    assert "inside:" not in json.dumps(found)
    assert "Traceback" not in json.dumps(found)
    assert [line["event"] for line in lines] == ["request failed"]
    assert lines[0]["exc_info"]


async def test_our_own_broken_connection_is_a_fault_too(served: Served) -> None:
    await served.problem("GET", "/crash/upstream", status=500, code="internal_error")


async def test_an_answer_that_fails_half_way_is_cut_off(served: Served) -> None:
    raw = await Raw.open(served.url)
    await raw.send(request_bytes(method="GET", path="/crash/half-way"))
    text = await raw.reader.read()
    assert text.endswith(b"the first half\r\n")  # no second answer, and no end of the chunked one
    await raw.close()


@pytest.mark.parametrize(("path", "code", "status"), [("/nothing", "not_found", 404), ("/%00", "not_found", 404)])
async def test_what_is_not_there(served: Served, path: str, code: str, status: int) -> None:
    await served.problem("GET", path, status=status, code=code)


async def test_wrong_method(served: Served) -> None:
    async with served.session.delete(served.url + "/healthz") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert answer.headers["X-Frame-Options"] == "DENY"


async def test_every_answer_has_the_security_headers(served: Served) -> None:
    for path in ("/healthz", "/openapi.json", "/metrics", "/nothing", "/api/cloud/jobs", "/"):
        async with served.session.get(served.url + path) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Referrer-Policy" in answer.headers
