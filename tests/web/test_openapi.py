"""The document agrees with the router, and is valid OpenAPI 3.1 as far as a reader relies on it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.support.webapp import Served, running_app


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def test_every_route_is_in_it_and_nothing_else(served: Served) -> None:
    document = await served.get("/openapi.json")
    assert document["openapi"] == "3.1.0"
    documented = {(method, path) for method, path, _ in operations(document)}
    routed = {
        (route.method, route.resource.canonical)
        for route in served.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert documented == routed
    assert ("POST", "/api/webhooks/replicate") in documented


async def test_operations_are_complete(served: Served) -> None:
    document = await served.get("/openapi.json")
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["summary"], path
        named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        assert any(status.startswith(("2", "3")) for status in operation["responses"])
        assert "500" in operation["responses"]
        public = path in {"/healthz", "/readyz", "/api/webhooks/replicate", "/login"} or path.startswith("/static/")
        judges = path.startswith("/api/webhooks") or (method, path) == ("POST", "/login")  # by themselves
        assert ("401" in operation["responses"]) == (not public or judges), (method, path)
        for status, response in operation["responses"].items():
            assert response["description"], (path, status)


async def test_every_schema_is_one(served: Served) -> None:
    document = await served.get("/openapi.json")

    def schemas(node: Any) -> Iterator[Any]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "schema":
                    yield value
                yield from schemas(value)
        elif isinstance(node, list):
            for value in node:
                yield from schemas(value)

    for schema in [*schemas(document["paths"]), *document["components"]["schemas"].values()]:
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


async def test_answers_are_what_it_says(served: Served) -> None:
    await served.event("p1", logs="Steps:  10%|# | 1/10 [00:01<00:09, 1it/s, step_loss=0.5]")
    await served.event(raw=b"?")
    await served.event("p2", status="succeeded", output=["https://replicate.delivery/a.png"])
    document = await served.get("/openapi.json")
    examples = {
        "/api/cloud/jobs/{job_id}": "/api/cloud/jobs/p2",
        "/api/cloud/jobs/{job_id}/artifacts": "/api/cloud/jobs/p2/artifacts",
        "/api/cloud/jobs/{job_id}/events": "/api/cloud/jobs/p1/events",
        "/api/cloud/jobs/{job_id}/metrics": "/api/cloud/jobs/p1/metrics",
    }
    checked = 0
    for method, path, operation in operations(document):
        if method != "GET" or ("{" in path and path not in examples):
            continue
        async with served.session.get(served.url + examples.get(path, path)) as answer:
            if answer.content_type == "text/event-stream":
                continue
            content = operation["responses"][str(answer.status)]["content"]
            assert answer.content_type in content, path
            if answer.content_type.endswith("json"):
                schema = {**content[answer.content_type]["schema"], "components": document["components"]}
                jsonschema_rs.validate(schema, await answer.json(content_type=None))
                checked += 1
    assert checked > 12
