"""The parser, the exit codes and what is printed where."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import json
import re
import signal
import sys
from pathlib import Path

import pytest

from daemon.cli.main import COMMANDS, overview
from tests.cli.conftest import TIMEOUT, Program, StandIn, job, problem

FREE_PORT = "http://127.0.0.1:9"  # the discard service: nobody runs it


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
async def test_the_overview_names_every_command(tunerd, arguments) -> None:
    result = await tunerd(*arguments)
    assert (result.code, result.err) == (0, "")
    assert all(re.search(rf"^  {name} +{re.escape(line)}$", result.out, re.MULTILINE) for name, _, _, line in COMMANDS)
    assert max(map(len, overview().splitlines())) <= 100


@pytest.mark.parametrize(("name", "target", "line"), [(name, target, line) for name, target, _, line in COMMANDS])
def test_a_commands_line_is_its_docstrings_first(name: str, target: str, line: str) -> None:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(f"daemon.cli.{module}"), attribute)
    text = inspect.getdoc(found) if inspect.isfunction(found) else found.help
    assert text is not None and text.splitlines()[0] == line


@pytest.mark.parametrize("group", ["events", "allowlist", "token", "destinations", "notifications"])
async def test_every_command_of_a_group_has_its_line(tunerd, group: str) -> None:
    shown = (await tunerd(group, "--help")).out
    listed = shown[shown.index("Commands") :].splitlines()[1:]
    lines = [line.strip("│ ") for line in itertools.takewhile(lambda line: not line.startswith("╰"), listed)]
    assert len(lines) > 1 and not [line for line in lines if " " not in line], shown


async def test_every_command_has_help() -> None:
    """One process for all of them: a start takes longer than what is looked at."""
    script = (
        "import contextlib, io, json, sys; from daemon.cli.main import COMMANDS, main\n"
        "for name, *_ in COMMANDS:\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        code = main([name, '--help'])\n"
        "    print(json.dumps([name, code, out.getvalue().splitlines()[0], err.getvalue()]), file=sys.__stdout__)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
    told = {
        name: (code, line.partition(f"tunerd {name}")[0], err)
        for name, code, line, err in map(json.loads, out.splitlines())
    }
    assert told == {name: (0, "Usage: ", "") for name, *_ in COMMANDS}


async def test_the_overview_imports_no_heavy_module() -> None:
    check = (
        "import sys; from daemon.cli.main import main; main(['--help']);"
        "heavy = {'aiohttp', 'cyclopts', 'rich', 'sqlalchemy', 'dbos'} & set(sys.modules); assert not heavy, heavy"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", check, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


async def test_client_commands_import_no_heavy_module() -> None:
    check = (
        "import sys; from daemon.cli.main import main; assert main(['jobs']) == 3;"
        "heavy = {'aiohttp', 'sqlalchemy', 'dbos', 'boto3'} & set(sys.modules); assert not heavy, heavy"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", check), env={"TUNERD_URL": FREE_PORT}, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("jbos",), "Did you mean jobs?"),
        (("jobs", "--nope"), "--nope"),
        (("job",), "JOB_ID"),
        (("jobs", "--status", "asleep"), "asleep"),
        (("wait", "job_1", "--timeout", "soon"), "soon"),
        (("token",), "set or delete"),
        (("events",), "show, verify, export, replay or rebuild"),
        (("submit",), "MODEL"),
        (("submit", "not-a-model", "a=1"), "OWNER/NAME"),
        (("submit", "acme/hello", "text"), "key=value"),
        (("submit", "--config", "/nowhere/config.json"), "/nowhere/config.json"),
        (("sandbox", "--listen", "8089"), "8089"),
        (("sandbox", "--fault", "nope=1"), "no fault 'nope'; there are behaviour, "),
        (("sandbox", "--speed", "0"), "--speed"),
        (("sign", "-"), "TUNERD_WEBHOOK_SECRET"),
        (("sign", "-", "--secret", "whsec_!"), "base64"),
        (("serve", "extra"), "extra"),
    ],
)
async def test_usage_errors_exit_with_2(tunerd, arguments: tuple[str, ...], named: str) -> None:
    result = await tunerd(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("tunerd: ") and named in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs",),
        ("job", "job_1"),
        ("logs", "job_1"),
        ("logs", "-f", "job_1"),
        ("wait", "job_1"),
        ("tail",),
        ("cancel", "job_1"),
        ("redeliver", "job_1"),
        ("submit", "acme/hello", "text=x"),
        ("validate",),
        ("versions",),
        ("billing",),
        ("token", "delete"),
        ("events", "show", "1"),
    ],
)
async def test_an_unreachable_daemon_exits_with_3_and_is_named(tunerd, arguments: tuple[str, ...]) -> None:
    result = await tunerd(*arguments, TUNERD_URL=FREE_PORT)
    assert (result.code, result.out) == (3, "")
    assert FREE_PORT in result.err and "TUNERD_URL" in result.err


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1:x", "unix:relative"])
async def test_an_invalid_address_is_misconfigured(tunerd, url: str) -> None:
    result = await tunerd("jobs", TUNERD_URL=url)
    assert result.code == 78 and "TUNERD_URL" in result.err


async def test_an_error_answer_is_told_on_standard_error(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("GET", "/api/cloud/jobs/x", problem(404, "job_not_found"), 404, "application/problem+json")
    result = await tunerd("job", "x", TUNERD_URL=stand_in.url)
    assert (result.code, result.out) == (1, "")
    assert result.err == "tunerd: It went wrong: Do this next. [job_not_found]\n"
    result = await tunerd("job", "x", "--json", TUNERD_URL=stand_in.url)
    assert (result.code, result.out) == (1, "")
    assert '"code": "job_not_found"' in result.err


async def test_a_job_in_the_queue_is_explained(tunerd, stand_in: StandIn) -> None:
    waiting = {"job": job(status="queued", queue_seconds=125.0)}
    stand_in.answer("GET", "/api/cloud/jobs/job_1", waiting)
    stand_in.answer("GET", "/api/cloud/jobs/job_1/artifacts", {"artifacts": []})
    page = {"operational": False, "description": "Long queues\x1b[2J for A100", "incidents": [], "error": None}
    stand_in.answer("GET", "/api/cloud/replicate/status", page)
    result = await tunerd("job", "job_1", TUNERD_URL=stand_in.url)
    assert result.code == 0
    explained = "Queued for 2:05: Replicate queues jobs while GPUs are busy. Its status page: Long queues"
    assert explained in result.out and "\x1b" not in result.out
    told = await tunerd("job", "job_1", "--json", TUNERD_URL=stand_in.url)
    assert told.json() == waiting


async def test_control_characters_in_an_error_do_not_reach_the_terminal(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("GET", "/api/cloud/jobs/x", problem(400, "bad", detail="\x1b]0;gone\x07\x9b2J\r"), 400)
    result = await tunerd("job", "x", TUNERD_URL=stand_in.url)
    assert "\\x1b]0;gone\\x07\\x9b2J\\r" in result.err


@pytest.mark.parametrize(("status", "code"), [(502, 3), (504, 3), (301, 1), (404, 1)])
async def test_answers_of_something_in_between(tunerd, stand_in: StandIn, status: int, code: int) -> None:
    stand_in.answer("GET", "/api/cloud/jobs", b"<html>no</html>", status, "text/html")
    result = await tunerd("jobs", TUNERD_URL=stand_in.url)
    assert result.code == code and str(status) in result.err and "TUNERD_URL" in result.err


async def test_something_that_does_not_speak_http(tunerd) -> None:
    async def chatter(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        result = await tunerd("jobs", TUNERD_URL=f"http://127.0.0.1:{port}")
    assert result.code == 3 and "does not speak HTTP" in result.err


async def test_the_admin_token_and_the_prefix_of_a_proxy_go_along(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("GET", "/tuner/api/cloud/jobs/a%2Fb", {"job": job()})
    stand_in.answer("GET", "/tuner/api/cloud/jobs/job_1/artifacts", {"artifacts": []})
    stand_in.routes["GET", "/tuner/api/cloud/jobs/a/b"] = stand_in.routes["GET", "/tuner/api/cloud/jobs/a%2Fb"]
    result = await tunerd("job", "a/b", TUNERD_URL=stand_in.url + "/tuner/", TUNERD_ADMIN_TOKEN="sesame-sesame")
    assert result.code == 0, result.err
    assert stand_in.seen[0][1] == "/tuner/api/cloud/jobs/a%2Fb"
    assert {headers["Authorization"] for _, _, headers, _ in stand_in.seen} == {"Bearer sesame-sesame"}


async def test_a_unix_socket(tunerd, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"jobs":[],"next_cursor":null,"total":0}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "socket")
    async with server:
        result = await tunerd("jobs", TUNERD_URL=f"unix:{tmp_path / 'socket'}")
    assert (result.code, result.out) == (0, "No jobs.\n")


async def test_ctrl_c_is_130_without_a_traceback(start: Program, stand_in: StandIn) -> None:
    asked = asyncio.Event()

    async def never(request) -> None:
        asked.set()
        await asyncio.Event().wait()

    stand_in.routes["GET", "/api/cloud/jobs"] = never
    started = await start("jobs", TUNERD_URL=stand_in.url)
    await asyncio.wait_for(asked.wait(), 30)
    started.process.send_signal(signal.SIGINT)
    result = await started.result()
    assert (result.code, result.out, result.err) == (130, "", "")


async def test_a_reader_that_leaves_is_no_error(stand_in: StandIn, tmp_path: Path) -> None:
    many = [job(job_id=f"job_{number}") for number in range(3000)]
    stand_in.answer("GET", "/api/cloud/jobs", {"jobs": many, "next_cursor": None, "total": len(many)})
    process = await asyncio.create_subprocess_shell(
        f"set -o pipefail; {sys.executable} -m daemon jobs | head -1",
        executable="/bin/bash",
        env={"TUNERD_URL": stand_in.url, "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"") and out.startswith(b"job ")


async def test_the_version(tunerd) -> None:
    result = await tunerd("version", "--json")
    assert result.code == 0 and result.json()["tunerd"]
    assert (await tunerd("--version")).out == f"tunerd {result.json()['tunerd']}\n"
