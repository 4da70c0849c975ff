"""The dashboard and the alerts: a real Prometheus scrapes a real daemon and evaluates every expression of both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import system_program
from tests.support.ports import free_port
from tests.support.webapp import Served, running_app

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/tunerd.rules.yml"
DASHBOARD = json.loads((DEPLOY / "grafana/tunerd.json").read_text())
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
METRIC = re.compile(r"\b((?:tunerd|process|python)_[a-z_]+)")
FROM_PROMETHEUS = {"up"}
# Of a quiet daemon: nothing waits, nothing fails, no limit is set.
MAY_BE_EMPTY = {
    "Alerts by kind",
    "Most urgent output",
    "API calls by endpoint and result",
    "Cost limit",
    "Deliveries by type and status",
}


def panels() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions() -> Iterator[tuple[str, str]]:
    """Title and expression, as Grafana would send it."""
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            yield panel["title"], text
    for name, rule in ALERTS.items():
        yield name, rule["expr"]


@contextlib.asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """A Prometheus that scrapes ``target`` (HOST:PORT) each second, with our rules; its URL."""
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "tunerd", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            system_program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={url}",
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{url}"
    finally:
        process.kill()
        await process.wait()


async def query(session: aiohttp.ClientSession, url: str, expression: str) -> list[Any]:
    async with session.get(f"{url}/api/v1/query", params={"query": expression}) as answer:
        found = await answer.json()
    assert found["status"] == "success", (expression, found)
    result: list[Any] = found["data"]["result"]
    return result


async def until(session: aiohttp.ClientSession, url: str, expression: str) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    while asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            if await query(session, url, expression):
                return
        await asyncio.sleep(0.3)
    raise AssertionError(f"never true: {expression}")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        yield served


async def names_of(served: Served) -> set[str]:
    """Every name that a query can use."""
    async with served.session.get(f"{served.url}/metrics") as answer:
        text = await answer.text()
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names |= {f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    return names


async def test_only_metrics_that_exist(served: Served) -> None:
    there = await names_of(served)
    for title, expression in expressions():
        used = set(METRIC.findall(expression))
        assert used or set(re.findall(r"[a-z]+", expression)) & FROM_PROMETHEUS, title
        assert used <= there, title
    for variable in DASHBOARD["templating"]["list"]:
        assert set(METRIC.findall(variable.get("definition", ""))) <= there


async def test_everything_that_counts_is_shown_or_alerted(served: Served) -> None:
    used = {name for _, expression in expressions() for name in METRIC.findall(expression)}
    plain = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in await names_of(served) if name.startswith("tunerd_")}
    assert ours - plain == set()


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert DASHBOARD["uid"] and DASHBOARD["schemaVersion"] >= 36
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert panel["description"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_every_alert_says_what_to_do() -> None:
    for name, rule in ALERTS.items():
        assert name.startswith("Tunerd")
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


async def test_prometheus_evaluates_all_of_it(served: Served, tmp_path: Path) -> None:
    await served.event("p1")
    await served.event("p2", status="succeeded", output="https://replicate.delivery/a.png")
    target = served.url.removeprefix("http://")
    async with prometheus(tmp_path, target) as url, aiohttp.ClientSession() as session:
        await until(session, url, 'count_over_time(up{job="tunerd"}[1m]) >= 3')
        for title, expression in expressions():
            found = await query(session, url, expression)
            assert found or title in MAY_BE_EMPTY or title in ALERTS, (title, expression)
        assert await query(session, url, 'ALERTS{alertname=~"TunerdStoreDown|TunerdDown"}') == []


def test_alerts_fire_when_they_should_and_only_then() -> None:
    cases = Path(__file__).with_name("tunerd.rules.test.yml")
    subprocess.run([system_program("promtool"), "test", "rules", cases.name], check=True, cwd=cases.parent)
    silent, firing = yaml.safe_load(cases.read_text())["tests"]
    assert {one["alertname"] for one in silent["alert_rule_test"]} == set(ALERTS)
    told = [one["labels"] for one in firing["promql_expr_test"][0]["exp_samples"]]
    assert set(re.findall(r"Tunerd\w+", " ".join(told))) == set(ALERTS)


def test_the_files_are_what_promtool_takes(tmp_path: Path) -> None:
    promtool = system_program("promtool")
    subprocess.run([promtool, "check", "rules", str(RULES)], check=True)
    subprocess.run(
        [promtool, "check", "config", "--syntax-only", str(DEPLOY / "prometheus/prometheus.yml")], check=True
    )
