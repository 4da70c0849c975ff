"""The list of destinations through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from daemon.core.options import SECRET, OptionType
from daemon.delivery.destinations.base import types
from tests.support.webapp import Served, running_app

PATH = "/api/cloud/publishing"
HUB = {"name": "hub", "type": "huggingface", "options": {"repo_id": "me/{job_id}", "token": "hf_secretsecret"}}
LOCAL = {"name": "local", "type": "local", "options": {}}
SHOWN: dict[str, Any] = {"secrets": [], "paused": False, "concurrency": 4}


class Hub(msgspec.Struct, frozen=True, kw_only=True):
    repo_id: str
    token: Annotated[str | None, msgspec.Meta(extra_json_schema=SECRET)] = None


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    bucket: str
    endpoint_url: Annotated[str, msgspec.Meta(pattern="^https://")] | None = None
    token: Annotated[str | None, msgspec.Meta(extra_json_schema=SECRET)] = None


TYPES = {**types(), "huggingface": OptionType("huggingface", Hub), "s3": OptionType("s3", Bucket)}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path, destination_types=TYPES) as served:
        yield served


async def test_one_local_destination_from_the_start(served: Served) -> None:
    assert (await served.get(PATH))["destinations"] == [{**LOCAL, **SHOWN}]


async def test_a_list_replaces_the_list(served: Served) -> None:
    disk = {"name": "disk-2", "type": "local", "options": {"path": "/srv/models", "unpack": True}}
    found = await served.call("PUT", PATH, json={"destinations": [LOCAL, disk]})
    assert found["destinations"] == [{**LOCAL, **SHOWN}, {**disk, **SHOWN}]
    assert await served.get(PATH) == found
    assert (await served.call("PUT", PATH, json={"destinations": []}))["destinations"] == []


async def test_what_is_shown_may_be_sent_back(served: Served) -> None:
    await served.call("PUT", PATH, json={"destinations": [LOCAL, HUB]})
    shown = await served.get(PATH)
    assert shown["destinations"][1]["secrets"] == ["token"]
    assert await served.call("PUT", PATH, json=shown) == shown
    for one in shown["destinations"]:
        one["secrets"] = []  # no way to remove one: null is
    assert (await served.call("PUT", PATH, json=shown))["destinations"][1]["secrets"] == ["token"]


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


async def test_a_secret_does_not_go_over_to_another_thing_of_the_same_name(served: Served) -> None:
    await served.call("PUT", PATH, json={"destinations": [HUB]})
    bucket = {"name": "hub", "type": "s3", "options": {"bucket": "b"}}
    [shown] = (await served.call("PUT", PATH, json={"destinations": [bucket]}))["destinations"]
    assert shown["secrets"] == []
    assert await served.store.secrets.get("destination:hub:token") is None


async def test_types_are_told_with_their_options(served: Served) -> None:
    assert (await served.get(PATH))["types"] == sorted(TYPES)
    found = {kind["type"]: kind for kind in (await served.get(f"{PATH}/types"))["types"]}
    assert found["huggingface"]["schema"]["required"] == ["repo_id"]
    assert found["huggingface"]["schema"]["properties"]["token"]["writeOnly"]
    document = await served.get("/openapi.json")
    bodies = document["components"]["schemas"]["DestinationBody"]
    assert bodies["discriminator"]["mapping"]["local"] == "#/components/schemas/DestinationBody.local"


async def test_only_types_that_are_there(tmp_path: Path) -> None:
    async with running_app(tmp_path, destination_types={"local": TYPES["local"]}) as served:
        assert (await served.get(PATH))["types"] == ["local"]
        await served.problem("PUT", PATH, status=400, code="invalid_setting", json={"destinations": [HUB]})


async def test_a_destination_is_tested(served: Served, tmp_path: Path) -> None:
    found = await served.call("POST", f"{PATH}/local/test")
    assert found["ok"] and "can be made" in found["checked"][0] and found["error"] is None
    (tmp_path / "there").mkdir()
    disk = {"name": "disk", "type": "local", "options": {"path": str(tmp_path / "there")}}
    await served.call("PUT", PATH, json={"destinations": [disk]})
    found = await served.call("POST", f"{PATH}/disk/test")
    assert found["ok"] and "wrote, read and removed" in found["checked"][0]
    assert list((tmp_path / "there").iterdir()) == []
    (tmp_path / "there").rmdir()
    (tmp_path / "there").write_text("a file")
    found = await served.call("POST", f"{PATH}/disk/test")
    assert not found["ok"] and str(tmp_path) in found["error"]
    await served.problem("POST", f"{PATH}/nowhere/test", status=404, code="destination_not_found")
