"""Whoever reads only the document knows what each field means, what a body looks like, and what to call next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from daemon.web.openapi_fields import FIELDS
from daemon.web.openapi_words import EXAMPLES, PATH_PARAMETERS, TAGS
from tests.support.webapp import running_app


@pytest.fixture
async def document(tmp_path: Path) -> Any:
    async with running_app(tmp_path) as served:
        return await served.get("/openapi.json")


def test_every_field_is_explained(document: Any) -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, told in schema.get("properties", {}).items()
        if not told.get("description")
    ]
    assert silent == [], "say in daemon/web/openapi_fields.py what they mean"


def test_no_explanation_is_left_over(document: Any) -> None:
    there = set()
    for name, schema in document["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            there |= {field, f"{name.rpartition('.')[2]}.{field}"}
    assert FIELDS.keys() - there == set()


def test_groups_and_parameters_are_explained(document: Any) -> None:
    assert {tag["name"] for tag in document["tags"]} <= TAGS.keys()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                assert len(parameter["description"]) > 2, (path, parameter["name"])
                ours = parameter["in"] == "path" and operation["tags"] != ["pages"]
                assert not ours or parameter["name"] in PATH_PARAMETERS, path


def test_examples_are_what_the_schema_says(document: Any) -> None:
    for (method, path), examples in EXAMPLES.items():
        content = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
        assert content["examples"] == examples
        schema = {**content["schema"], "components": document["components"]}
        for example in examples.values():
            jsonschema_rs.validate(schema, example["value"])


def test_links_lead_to_operations_that_take_what_they_give(document: Any) -> None:
    operations = {
        operation["operationId"]: operation for methods in document["paths"].values() for operation in methods.values()
    }
    count = 0
    for operation in operations.values():
        for response in operation["responses"].values():
            for name, link in response.get("links", {}).items():
                target = operations[link["operationId"]]
                taken = {f"{one['in']}.{one['name']}" for one in target["parameters"]}
                needed = {f"path.{one['name']}" for one in target["parameters"] if one["in"] == "path"}
                assert needed <= link["parameters"].keys() <= taken, name
                count += 1
    assert count > 40
    submitted = operations["submit_job"]["responses"]["201"]["links"]
    assert {"get_job", "cancel_job", "redeliver_job", "get_artifacts"} <= submitted.keys()
