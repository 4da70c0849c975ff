"""The doctor beside a daemon, without one, and against faults made for real."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.checks.all import CHECKS
from daemon.sandbox import Sandbox
from daemon.store.store import Store
from tests.support.daemon import Daemon, running_daemon

NOBODY = "http://127.0.0.1:9"
QUIET = {"TUNERD_STATUS_URL": "http://127.0.0.1:9/", "TUNERD_LISTEN": "127.0.0.1:0"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


def by_id(result: Any) -> dict[str, Any]:
    return {check["id"]: check for check in result.json()["checks"]}


async def test_a_running_daemon_is_asked(tunerd, sandbox: Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    given = {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}
    async with running_daemon(home, **given) as daemon:
        await _point(daemon)
        well = await tunerd("doctor", "--json", TUNERD_URL=daemon.url)
        found = by_id(well)
        assert {name: one for name, one in found.items() if one["status"] == "fail"} == {}
        assert well.code == 0
        assert set(found) == {check.id for check in CHECKS}
        assert found["webhook_reached"]["status"] == "ok"
        shown = await tunerd("doctor", TUNERD_URL=daemon.url)
        assert (shown.code, "→" in shown.out) == (0, True)
        assert all(check.title in shown.out for check in CHECKS)


async def _point(daemon: Daemon) -> None:
    async with daemon.session.put(
        daemon.url + "/api/cloud/providers/replicate", json={"webhook_url": daemon.url}
    ) as answer:
        assert answer.status == 200


async def test_without_a_daemon_what_can_be_checked_is(tunerd, sandbox: Sandbox, tmp_path: Path) -> None:
    given = QUIET | {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}
    result = await tunerd("doctor", "--json", TUNERD_URL=NOBODY, TUNERD_DATA_DIR=str(tmp_path / "data"), **given)
    found = by_id(result)
    assert result.code == 0
    assert found["daemon"]["status"] == "warn"
    assert found["token_valid"]["status"] == "ok"
    assert "none yet" in found["database"]["detail"]
    assert not (tmp_path / "data").exists()  # looking changes nothing


async def test_a_wrong_token_is_a_failure(tunerd, sandbox: Sandbox) -> None:
    given = QUIET | {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": "r8_wrongwrongwrong"}
    result = await tunerd("doctor", TUNERD_URL=NOBODY, **given)
    assert result.code == 1
    assert "Invalid token" in result.out
    assert "api-tokens" in result.out


async def test_the_stored_token_is_found_without_a_daemon(tunerd, sandbox: Sandbox, tmp_path: Path) -> None:
    async with Store.open(None, tmp_path / "data") as store:
        await store.secrets.put("replicate_api_token", sandbox.api_token, now=1.0)
    given = QUIET | {"REPLICATE_BASE_URL": sandbox.url, "TUNERD_DATA_DIR": str(tmp_path / "data")}
    found = by_id(await tunerd("doctor", "--json", TUNERD_URL=NOBODY, **given))
    assert found["token_valid"]["status"] == "ok"
    assert "stored" in found["token"]["detail"]


async def test_a_database_in_use_and_a_port_that_is_taken(tunerd, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Store.open(None, tmp_path / "data"):
            given = QUIET | {"TUNERD_LISTEN": f"127.0.0.1:{port}", "TUNERD_DATA_DIR": str(tmp_path / "data")}
            result = await tunerd("doctor", "--json", TUNERD_URL=NOBODY, REPLICATE_BASE_URL=NOBODY, **given)
    found = by_id(result)
    assert result.code == 1
    assert (found["database"]["status"], found["listeners"]["status"]) == ("fail", "fail")
    assert "another tunerd" in found["database"]["detail"]
    assert str(port) in found["listeners"]["detail"]


async def test_exit_codes_of_what_is_not_even_asked(tunerd, stand_in) -> None:
    assert (await tunerd("doctor", TUNERD_URL="http://192.0.2.1:1", TUNERD_ADMIN_TOKEN="x")).code == 3
    assert (await tunerd("doctor", TUNERD_URL=NOBODY, TUNERD_ROLE="king")).code == 78
    assert (await tunerd("doctor", TUNERD_URL=stand_in.url)).code == 3  # an older tunerd, or another program
