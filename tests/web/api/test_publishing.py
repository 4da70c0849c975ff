"""The list of destinations through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.webapp import Served, running_app

PATH = "/api/cloud/publishing"
HUB = {"name": "hub", "type": "huggingface", "options": {"repo_id": "me/{job_id}", "token": "hf_secretsecret"}}
LOCAL = {"name": "local", "type": "local", "options": {}}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    types = frozenset({"local", "huggingface", "s3"})
    async with running_app(tmp_path, destination_types=types) as served:
        yield served


async def test_one_local_destination_from_the_start(served: Served) -> None:
    assert (await served.get(PATH))["destinations"] == [{**LOCAL, "secrets": []}]


async def test_a_list_replaces_the_list(served: Served) -> None:
    disk = {"name": "disk-2", "type": "local", "options": {"path": "/srv/models", "unpack": True}}
    found = await served.call("PUT", PATH, json={"destinations": [LOCAL, disk]})
    assert found["destinations"] == [{**LOCAL, "secrets": []}, {**disk, "secrets": []}]
    assert await served.get(PATH) == found
    assert (await served.call("PUT", PATH, json={"destinations": []}))["destinations"] == []


async def test_secrets_are_written_and_never_read(served: Served) -> None:
    async def put(**options: Any) -> Any:
        entry = {**HUB, "options": {"repo_id": "me/x", **options}}
        answer = await served.call("PUT", PATH, json={"destinations": [entry]})
        assert "hf_secret" not in str(answer)
        return answer["destinations"][0]

    assert (await put(token="hf_secretsecret"))["secrets"] == ["token"]
    assert (await put())["secrets"] == ["token"]  # left out: it stays
    assert await served.store.secrets.get("destination:hub:token") == "hf_secretsecret"
    assert "hf_secret" not in str(await served.store.settings.all())
    assert (await put(token=None))["secrets"] == []


async def test_a_secret_goes_with_its_destination(served: Served) -> None:
    await served.call("PUT", PATH, json={"destinations": [HUB]})
    await served.call("PUT", PATH, json={"destinations": [LOCAL]})
    assert await served.store.secrets.get("destination:hub:token") is None


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"name": "", "type": "local"}, "name"),
        ({"name": "../x", "type": "local"}, "name"),
        ({"name": "a", "type": "ftp"}, "type"),
        ({"name": "a", "type": "local", "options": {"path": "relative"}}, "options.path"),
        ({"name": "a", "type": "local", "options": {"unpack": "perhaps"}}, "options.unpack"),
        ({"name": "a", "type": "local", "options": {"bucket": "b"}}, "options.bucket"),
        ({"name": "a", "type": "s3", "options": {}}, "options.bucket"),
        ({"name": "a", "type": "s3", "options": {"bucket": "b", "endpoint_url": "x"}}, "options.endpoint_url"),
        ({"name": "local", "type": "local"}, "name"),
    ],
)
async def test_a_wrong_entry_changes_nothing(served: Served, entry: Any, field: str) -> None:
    before = await served.get(PATH)
    body = {"destinations": [{**LOCAL, "options": {"path": "/elsewhere"}}, entry]}
    problem = await served.problem("PUT", PATH, status=400, code="invalid_setting", json=body)
    assert problem["field"] == f"destinations[1].{field}"
    assert await served.get(PATH) == before


async def test_a_wrong_body(served: Served) -> None:
    for body in ({}, {"destinations": "local"}, {"destinations": [{"name": "a", "type": "local", "more": 1}]}):
        await served.problem("PUT", PATH, status=400, code="invalid_request", json=body)


async def test_only_types_that_are_there(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        assert (await served.get(PATH))["types"] == ["local"]
        await served.problem("PUT", PATH, status=400, code="invalid_setting", json={"destinations": [HUB]})
