"""A destination added as one new file works in configuration, API, delivery and documents with no other change."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.config import Settings
from daemon.delivery import destinations
from daemon.delivery.describe import with_tables
from daemon.delivery.destinations.base import types
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.outputs import OutputServer, complete, ended
from tests.support.webapp import Served, running_app

ROOT = Path(__file__).parents[3]

PIGEON = '''
"""A carrier pigeon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from daemon.core.options import SECRET
from daemon.delivery.destinations.base import Package, Place
from daemon.delivery.errors import Permanent


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By air."""

    TITLE: ClassVar[str] = "Carrier pigeon"

    loft: Annotated[str, msgspec.Meta(description="Where it lands.")]
    whistle: Annotated[str | None, msgspec.Meta(extra_json_schema=SECRET)] = None


def publish(package: Package, options: Options, place: Place) -> str:
    for file in package.files:
        (Path(options.loft) / file.name).write_bytes(file.path.read_bytes() + (options.whistle or "").encode())
        place.report(file.bytes, package.bytes)
    return f"pigeon://{options.loft}"


def check(options: Options, place: Place) -> list[str]:
    if not options.whistle:
        raise Permanent("it does not come without a whistle")
    return ["it came"]
'''


@pytest.fixture
def pigeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "pigeon.py").write_text(PIGEON)
    monkeypatch.setattr(destinations, "__path__", [*destinations.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "daemon.delivery.destinations.pigeon", raising=False)


@pytest.fixture
async def served(pigeon: None, tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


def entry(loft: Path) -> dict[str, object]:
    return {"name": "air", "type": "pigeon", "options": {"loft": str(loft), "whistle": "fweet"}}


async def test_configuration_and_api(served: Served, tmp_path: Path) -> None:
    found = await served.get("/api/cloud/publishing/types")
    [kind] = [kind for kind in found["types"] if kind["type"] == "pigeon"]
    assert kind["description"] == "By air." and kind["schema"]["properties"]["whistle"]["writeOnly"]
    document = await served.get("/openapi.json")
    options = document["components"]["schemas"]["DestinationBody.pigeon"]["properties"]["options"]
    shown = {name: schema["anyOf"][0] for name, schema in options["properties"].items()}  # null is as good as left out
    assert {**options, "properties": shown} == kind["schema"]
    path = "/api/cloud/publishing"
    problem = await served.problem(
        "PUT",
        path,
        status=400,
        code="invalid_setting",
        json={"destinations": [{"name": "air", "type": "pigeon", "options": {}}]},
    )
    assert problem["field"] == "destinations[0].options.loft"
    [shown] = (await served.call("PUT", path, json={"destinations": [entry(tmp_path)]}))["destinations"]
    assert (shown.pop("paused"), shown.pop("concurrency")) == (False, 4)
    assert shown == {"name": "air", "type": "pigeon", "options": {"loft": str(tmp_path)}, "secrets": ["whistle"]}
    assert await served.call("POST", f"{path}/air/test") == {"ok": True, "checked": ["it came"], "error": None}
    await served.call(
        "PUT", path, json={"destinations": [entry(tmp_path) | {"options": {"loft": "x", "whistle": None}}]}
    )
    tested = await served.call("POST", f"{path}/air/test")
    assert tested == {"ok": False, "checked": [], "error": "it does not come without a whistle"}
    await served.problem("POST", f"{path}/sea/test", status=404, code="destination_not_found")


async def test_form_and_card(served: Served, tmp_path: Path) -> None:
    async def page(path: str) -> str:
        async with served.session.get(served.url + path) as answer:
            assert answer.status == 200
            return await answer.text()

    assert 'href="/publishing/new/pigeon"><strong>Carrier pigeon</strong>' in await page("/publishing")
    form = await page("/publishing/new/pigeon")
    loft, whistle = (re.search(rf'<input[^>]*name="options.{name}"[^>]*>', form) for name in ("loft", "whistle"))
    assert loft is not None and whistle is not None
    assert "required" in loft[0] and 'type="password"' not in loft[0]
    assert "required" not in whistle[0] and 'type="password"' in whistle[0]
    assert "Where it lands." in form
    await served.call("PUT", "/api/cloud/publishing", json={"destinations": [entry(tmp_path)]})
    for path in ("/publishing", "/publishing/air"):
        text = await page(path)
        assert str(tmp_path) in text and "fweet" not in text
        assert "Carrier pigeon" in text


async def test_metrics_know_it_before_anything_went_there(served: Served) -> None:
    async with served.session.get(served.url + "/metrics") as answer:
        text = await answer.text()
    for line in (
        'tunerd_deliveries{status="failed",type="pigeon"} 0.0',
        'tunerd_delivery_outcomes_total{outcome="failed",type="pigeon"} 0.0',
        'tunerd_delivery_published_bytes_total{type="pigeon"} 0.0',
    ):
        assert line in text.splitlines()


def test_every_type_that_is_shipped_has_counterparts_in_the_conformance_suite() -> None:
    """A new file's counterpart goes into counterparts.py, and conftest.py has it take part."""
    text = (Path(__file__).parent / "counterparts.py").read_text(encoding="utf-8")
    taking_part = set(re.findall(r"self\.destination: Destination = (\w+)", text))
    assert taking_part == set(types())


async def test_delivery(
    pigeon: None, settings: Settings, store: Store, server: OutputServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    server.files["/a.bin"] = b"letter"
    options = {"loft": str(tmp_path)}
    await store.settings.put({"destinations": [{"name": "air", "type": "pigeon", "options": options}]}, now=0)
    await store.secrets.put("destination:air:whistle", "fweet", now=0)
    async with start_worker() as worker:
        job_id = await complete(store, "abc", f"{server.url}/a.bin")
        worker.wake()
        [delivery] = await ended(store, job_id)
    assert (delivery.status, delivery.url, delivery.error) == ("delivered", f"pigeon://{tmp_path}", None)
    assert (tmp_path / "a.bin").read_bytes() == b"letterfweet"


def test_documents(pigeon: None) -> None:
    document = with_tables("# Where\n", types())
    assert "## `pigeon`\nBy air.\n" in document
    assert "| `loft` | required | Loft. Where it lands. |" in document
    assert "| `whistle` | none | Whistle. Write-only. |" in document
    assert with_tables(document, types()) == document


def test_the_tables_in_docs_are_the_program_s() -> None:
    written = (ROOT / "docs/destinations.md").read_text(encoding="utf-8")
    assert with_tables(written, types()) == written, (
        "write them anew: python -m daemon.delivery.describe docs/destinations.md"
    )
