"""The commands against the real daemon and the sandbox."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.sandbox import Sandbox
from tests.cli.conftest import Program
from tests.support.daemon import Daemon, running_daemon

SPEED = 20  # a run of the sandbox's eight seconds takes under half a second


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=SPEED) as running:
        yield running


@pytest.fixture
async def daemon(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Daemon]:
    home = tmp_path / "daemon"
    home.mkdir()
    given = {"REPLICATE_BASE_URL": sandbox.url, "REPLICATE_API_TOKEN": sandbox.api_token}
    async with running_daemon(home, **given) as running:
        async with running.session.put(
            running.url + "/api/cloud/providers/replicate", json={"webhook_url": running.url}
        ) as answer:
            assert answer.status == 200, await answer.text()
        yield running


@pytest.fixture
def client(tunerd, daemon: Daemon):
    """``await client("jobs")``: a command that finds the daemon."""

    async def run(*arguments: str, given: bytes | None = None, **variables: str):
        return await tunerd(*arguments, given=given, TUNERD_URL=daemon.url, **variables)

    return run


async def test_a_job_from_submit_to_its_files(client, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"file:deep.bin:10": 1}')
    result = await client(
        *(
            "submit",
            "acme/shapes",
            'output=["file:a.bin:1000","file:b.bin:2000"]',
            "steps=20",
            "note=@" + str(tmp_path / "set.json"),
        ),
        *("--wait", "--json", "--name", "mine", "--idempotency-key", "key-1"),
    )
    assert result.code == 0, result.err
    answer = result.json()
    assert (answer["success"], answer["status"], answer["idempotent_hit"]) == (True, "completed", False)
    assert answer["job"]["deliveries"][0]["status"] == "delivered"
    job_id = answer["job_id"]
    assert {path.name for path in (daemon.output_dir / job_id).iterdir()} == {"a.bin", "b.bin", "manifest.json"}

    again = await client(
        *(
            "submit",
            "acme/shapes",
            'output=["file:a.bin:1000","file:b.bin:2000"]',
            "steps=20",
            "note=@" + str(tmp_path / "set.json"),
        ),
        *("--json", "--name", "mine", "--idempotency-key", "key-1"),
    )
    assert again.json()["idempotent_hit"] is True and again.json()["job_id"] == job_id

    listed = (await client("jobs", "--status", "completed", "--json")).json()
    assert [job["job_id"] for job in listed["jobs"]] == [job_id] and listed["total"] == 1
    assert (await client("job", answer["provider_job_id"], "--json")).json()["job"]["job_id"] == job_id
    shown = await client("job", job_id)
    assert shown.code == 0 and "a.bin" in shown.out and "delivered" in shown.out
    table = await client("jobs")
    assert job_id in table.out and "local delivered" in table.out and "\x1b" not in table.out

    waited = await client("wait", job_id)
    assert waited.code == 0 and f"{job_id} completed\n  local: delivered" in waited.out
    redelivered = await client("redeliver", job_id, "--to", "local", "--json")
    assert redelivered.code == 0 and redelivered.json()["job_id"] == job_id
    assert (await client("redeliver", job_id, "--to", "nowhere")).code == 1
    cancelled = await client("cancel", job_id)
    assert cancelled.code == 1 and "[job_finished]" in cancelled.err


async def test_more_jobs_than_a_page(client) -> None:
    for _ in range(3):
        assert (await client("submit", "acme/hello", "text=x")).code == 0
    from daemon.cli import jobs

    assert len((await client("jobs", "--limit", "2", "--json")).json()["jobs"]) == 2
    assert jobs.PAGE > 2
    none = await client("jobs", "--limit", "0")
    assert (none.code, "--limit 0" in none.err) == (2, True)


async def test_a_dataset_and_a_configuration(client, sandbox: Sandbox, tmp_path: Path) -> None:
    from daemon.cli.demo_data import write_dataset

    write_dataset(tmp_path / "discs")
    (tmp_path / "flux-lora.json").write_text(json.dumps({"model_family": "flux", "max_train_steps": 20}))
    arguments = ("submit", "--config", str(tmp_path / "flux-lora.json"), "--dataset", str(tmp_path / "discs"))
    (tmp_path / "discs" / ".env").write_text("TOKEN=secret")
    dry = await client(*arguments, "--dry-run", "--json")
    assert dry.code == 0 and dry.json()["dry_run"] is True
    told = await client(*arguments, "--dry-run")
    assert told.json()["dry_run"] is True  # a document alone, for programs; the words stand beside it
    assert "ok    token: There is an API token." in told.err and told.err.endswith("Nothing was sent.\n")
    assert not sandbox.uploads and not sandbox.predictions
    result = await client(*arguments, "--wait")
    assert result.code == 0, result.err
    assert "completed" in result.out and len(sandbox.uploads) == 1
    assert "left out: 00-discs/.env (hidden)" in result.err
    assert (await client("jobs", "--json")).json()["jobs"][0]["config_name"] == "flux-lora"


async def test_a_failed_job_and_a_cancelled_one(client) -> None:
    result = await client("submit", "acme/shapes", "fail=oom", "--wait")
    assert result.code == 1 and "failed: CUDA out of memory" in result.out
    job_id = (await client("submit", "acme/shapes", "run_seconds=10000", "--json")).json()["job_id"]
    slow = await client("wait", job_id, "--timeout", "0.5")
    assert slow.code == 1 and "after 0.5 s" in slow.err
    assert (await client("cancel", job_id)).code == 0
    waited = await client("wait", job_id, "--json")
    assert waited.code == 1 and waited.json()["job"]["status"] == "cancelled"


async def test_wait_and_tail_outlive_a_restart(start: Program, client, daemon: Daemon) -> None:
    job_id = (await client("submit", "acme/shapes", "run_seconds=100", "steps=50", "--json")).json()["job_id"]
    waiting = await start("wait", job_id, TUNERD_URL=daemon.url)
    tailing = await start("tail", "--from", "1", "--json", TUNERD_URL=daemon.url)
    seen = [json.loads(await tailing.line())]
    assert job_id in await waiting.remark()  # it has reached the daemon: before that, nobody there is an error
    assert await daemon.stop() == 0
    await asyncio.sleep(1)
    await daemon.start()
    while seen[-1]["event"] != "completed":
        seen.append(json.loads(await tailing.line()))
    assert [row["seq"] for row in seen] == list(range(1, len(seen) + 1))
    result = await waiting.result()
    assert result.code == 0 and f"{job_id} completed" in result.out, result.err
    tailing.process.send_signal(signal.SIGINT)
    assert (await tailing.result()).code == 130


async def test_logs_follow_ends_with_the_job(start: Program, client, daemon: Daemon) -> None:
    job_id = (
        await client("submit", "acme/trainer", "steps=300", "run_seconds=40", "log_bytes=3000000", "--json")
    ).json()["job_id"]
    following = await start("logs", "-f", job_id, TUNERD_URL=daemon.url)
    followed = (await following.result()).out
    whole = (await client("logs", job_id, "--json")).json()["text"]
    async with daemon.session.get(f"{daemon.url}/api/cloud/jobs/{job_id}/logs") as answer:
        assert followed == whole == await answer.text() != ""
    assert (await client("logs", job_id)).out.replace("\r", "") == whole.replace("\r", "")


async def test_the_journal(client, sandbox: Sandbox, tmp_path: Path) -> None:
    assert (await client("submit", "acme/shapes", "--wait")).code == 0
    secret = {"TUNERD_WEBHOOK_SECRET": sandbox.webhook_secret}
    await client("trigger", "unrecognized", **secret)
    assert (await client("trigger", "completed", "--id", "elsewhere", **secret)).code == 0

    exported = await client("events", "export")
    assert (await client("events", "export", "--json")).out == exported.out
    rows = exported.lines()
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    signed = [row for row in rows if row["source"] == "webhook"]  # on a busy machine a poll may have come between
    first = str(signed[0]["seq"])
    raw = await client("events", "show", first, "--raw")
    assert raw.out.encode() == base64.b64decode(signed[0]["body_base64"])
    shown = (await client("events", "show", first, "--json")).json()
    status = json.loads(raw.out)["status"]
    assert shown["body"]["status"] == status and shown["headers"]["webhook-id"] == signed[0]["webhook_id"]
    assert f'"status": "{status}"' in (await client("events", "show", first)).out
    assert (await client("events", "show", "9999")).code == 1

    verified = await client("events", "verify", **secret)
    assert verified.code == 0 and f"{len(signed)} valid, 0 invalid" in verified.out
    wrong = await client("events", "verify", "--secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "--json")
    assert wrong.code == 1 and {line["verdict"] for line in wrong.lines()} - {"unsigned"} == {"invalid"}
    part = await client("events", "export", "--from", "2", "--to", "3", "--output", str(tmp_path / "events.jsonl"))
    assert part.code == 0 and part.out == ""
    assert [json.loads(line)["seq"] for line in (tmp_path / "events.jsonl").read_text().splitlines()] == [2, 3]
    of_one = await client("events", "export", "--job", "elsewhere")
    assert [row["event"] for row in of_one.lines()] == ["completed"]


async def test_the_account(client, tunerd, sandbox: Sandbox, tmp_path: Path) -> None:
    good = await client("validate")
    assert good.code == 0 and "acme" in good.out
    assert (await client("validate", "--json")).json()["valid"] is True
    versions = await client("versions", "--model", "acme/trainer", "--json")
    assert len(versions.json()["versions"]) == 2
    assert versions.json()["versions"][0]["id"] in (await client("versions", "--model", "acme/trainer")).out
    assert (await client("billing")).code == 0
    assert (await client("billing", "--json")).json()["currency"] == "USD"
    pinned = await client("token", "set", "r8_0123456789")
    assert pinned.code == 1 and "[setting_pinned]" in pinned.err


async def test_a_saved_token(tunerd, sandbox: Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "bare"
    home.mkdir()
    async with running_daemon(home, REPLICATE_BASE_URL=sandbox.url) as bare:
        missing = await tunerd("validate", TUNERD_URL=bare.url)
        assert missing.code == 1 and "Make a token at" in missing.err
        malformed = await tunerd("token", "set", "secret", TUNERD_URL=bare.url)
        assert malformed.code == 1 and "[token_invalid_format]" in malformed.err
        piped = await tunerd("token", "set", given=f" {sandbox.api_token}\n".encode(), TUNERD_URL=bare.url)
        assert piped.code == 0 and "accepts" in piped.out
        assert (await tunerd("validate", TUNERD_URL=bare.url)).code == 0
        assert (await tunerd("token", "delete", TUNERD_URL=bare.url)).code == 0
        assert (await tunerd("token", "delete", TUNERD_URL=bare.url)).code == 1
        assert (await tunerd("token", "set", given=b"", TUNERD_URL=bare.url)).code == 2


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (("--listen", "nonsense"), {}, "--listen"),
        ((), {"TUNERD_MAX_BODY_MIB": "many"}, "TUNERD_MAX_BODY_MIB"),
        ((), {"TUNERD_NO_SUCH": "1"}, "TUNERD_NO_SUCH"),
        (("--config", "/nowhere.toml"), {}, "/nowhere.toml"),
    ],
)
async def test_a_wrong_setting_exits_with_78(tunerd, arguments, variables, named: str) -> None:
    result = await tunerd("serve", *arguments, **variables)
    assert (result.code, result.out) == (78, "") and named in result.err


async def test_serve_twice(start: Program, tunerd, tmp_path: Path) -> None:
    arguments = (
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(tmp_path / "data"),
        "--output-dir",
        str(tmp_path / "o"),
    )
    first = await start(*arguments)
    ready = await first.line()
    assert ready.startswith("tunerd ready on http://127.0.0.1:")
    second = await tunerd(*arguments)
    assert second.code == 78 and str(first.process.pid) in second.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        third = await tunerd("server", "--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "other"))
        fourth = await tunerd("sandbox", "--listen", f"127.0.0.1:{port}")
    assert third.code == 1 and str(port) in third.err
    assert fourth.code == 1 and str(port) in fourth.err
    first.process.send_signal(signal.SIGTERM)
    assert (await first.result()).code == 0


async def test_the_sandbox_tells_its_address_first(start: Program) -> None:
    started = await start("sandbox", "--listen", "127.0.0.1:0", "--speed", "20", "--fault", "webhook_duplicates=1")
    assert (await started.line()).startswith("export REPLICATE_BASE_URL=http://127.0.0.1:")
    assert (await started.line()).startswith("export REPLICATE_API_TOKEN=r8_")
    started.process.send_signal(signal.SIGINT)
    assert (await started.result()).code == 0
