"""Nothing from outside reaches a terminal as a command."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path

import pytest

from daemon.cli import output
from tests.cli.conftest import StandIn, delivery, job

ESCAPES = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \x08 \u202egnp.exe"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain ✓ текст", "plain ✓ текст"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x9b2J\x7f\x00", "\\x9b2J\\x7f\\x00"),
        ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"),
        (None, "None"),
    ],
)
def test_control_characters_are_shown_not_obeyed(given: object, shown: str) -> None:
    assert output.clean(given) == shown


def test_a_log_keeps_its_returns_and_loses_its_sequences() -> None:
    assert output.harmless_log("\r 10%\x1b[A\x1b[2K|##|\n\x1b]8;;http://x\x07link\x07") == "\r 10%|##|\nlink\\x07"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ((output.duration, 3723.4), "1:02:03"),
        ((output.duration, 61), "1:01"),
        ((output.duration, None), "-"),
        ((output.size, 0), "0 B"),
        ((output.size, 200_000), "195.3 KiB"),
        ((output.size, 5 * 2**40), "5.0 TiB"),
        ((output.dollars, 1.005), "$1.00"),
        ((output.dollars, None), "-"),
        ((output.moment, None), "-"),
        ((output.moment, "not a time"), "not a time"),
    ],
)
def test_figures_for_people(call, text: str) -> None:
    assert call[0](call[1]) == text


def test_times_of_both_kinds_are_the_same_moment() -> None:
    assert output.moment("2026-01-05T10:00:00.000Z") == output.moment(1767607200) != "-"


async def on_terminal(tmp_path: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """The exit code of a command whose three streams are a terminal, and what the terminal got."""
    leader, follower = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon", *arguments),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "LANG": "C.UTF-8", **variables},
    )
    os.close(follower)

    def read() -> bytes:
        seen = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # how Linux tells that the last writer has closed
                return seen
            if not part:
                return seen
            seen += part

    seen = await asyncio.to_thread(read)
    os.close(leader)
    return await process.wait(), seen.decode()


async def test_a_terminal_gets_a_table_without_foreign_sequences(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.answer("GET", "/api/cloud/jobs", {"jobs": [job(model=ESCAPES)], "next_cursor": None, "total": 1})
    code, seen = await on_terminal(tmp_path, "jobs", TUNERD_URL=stand_in.url, COLUMNS="200")
    assert code == 0
    assert "\\x1b[31mred" in seen and "\x1b[31mred" not in seen
    assert not any(bad in seen for bad in ("\x1b]", "\x9b", "\x08", "\u202e"))
    assert "\x1b[" in seen  # its own colours


async def test_a_log_on_a_terminal_and_in_a_pipe(tunerd, stand_in: StandIn, tmp_path: Path) -> None:
    text = f"\r{ESCAPES}\n".encode() + b"\xff"
    stand_in.answer("GET", "/api/cloud/jobs/job_1/logs", text, kind="text/plain")
    code, seen = await on_terminal(tmp_path, "logs", "job_1", TUNERD_URL=stand_in.url)
    assert code == 0 and "\rred " in seen
    assert not any(bad in seen for bad in ("\x1b", "\x9b", "\x08", "\u202e"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon", "logs", "job_1"),
        env={"TUNERD_URL": stand_in.url},
        stdout=asyncio.subprocess.PIPE,
    )
    assert (await process.communicate())[0] == text


async def test_wait_on_a_terminal_shows_a_bar(stand_in: StandIn, tmp_path: Path) -> None:
    progress = {"step": 120, "total_steps": 1000, "percent": 12.0, "eta_seconds": 61.0}
    looks = 0

    async def look(request):
        from aiohttp import web

        nonlocal looks
        looks += 1
        running = job(progress=progress, error=ESCAPES)
        return web.json_response({"job": running if looks < 3 else job(status="completed", deliveries=[delivery()])})

    stand_in.routes["GET", "/api/cloud/jobs/job_1"] = look
    stand_in.answer(
        "GET", "/api/cloud/jobs/job_1/metrics", {"series": {"loss": [[1, 0.5], [120, 0.25]]}, "progress": {}}
    )
    code, seen = await on_terminal(tmp_path, "wait", "job_1", TUNERD_URL=stand_in.url, COLUMNS="120")
    assert code == 0 and "step 120/1000" in seen and "loss 0.2500" in seen and "eta 1:01" in seen
    assert "local: delivered" in seen


@pytest.mark.parametrize("columns", [60, 80, 200])
async def test_what_is_copied_stays_in_one_piece(stand_in: StandIn, tmp_path: Path, columns: int) -> None:
    """An id that is broken into two lines of its cell cannot be selected with the mouse."""
    ids = [f"job_{letter * 26}" for letter in "ab"]
    url = "file:///home/somebody/.simpletuner/cloud_outputs/job_aaaaaaaaaaaaaaaaaaaaaaaaaa"
    found = [job(job_id=one, model="simpletuner/advanced-trainer", deliveries=[delivery(url=url)]) for one in ids]
    stand_in.answer("GET", "/api/cloud/jobs", {"jobs": found, "next_cursor": None, "total": 2})
    _, seen = await on_terminal(tmp_path, "jobs", TUNERD_URL=stand_in.url, COLUMNS=str(columns))
    assert all(one in seen for one in ids)
    stand_in.answer("GET", f"/api/cloud/jobs/{ids[0]}", {"job": found[0]})
    file = {"name": "pytorch_lora_weights.safetensors", "bytes": 5, "sha256": "ab" * 32, "source_url": "https://x"}
    stand_in.answer("GET", f"/api/cloud/jobs/{ids[0]}/artifacts", {"artifacts": [file]})
    _, seen = await on_terminal(tmp_path, "job", ids[0], TUNERD_URL=stand_in.url, COLUMNS=str(columns))
    assert url in seen and "ab" * 32 in seen and file["name"] in seen


@pytest.mark.parametrize(
    ("amount", "shown"), [(None, "-"), (0, "$0.00"), (0.003, "<$0.01"), (0.01, "$0.01"), (1234.5, "$1,234.50")]
)
def test_dollars(amount: float | None, shown: str) -> None:
    assert output.dollars(amount) == shown
