"""The receiver's full durable path beside its peers: rounds interleaved, every answered event looked up afterwards."""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from . import servers
from .load import Outcome, Plan, webhook_id
from .report import Limit, Table

SERVERS: dict[str, Callable[[Path], AbstractContextManager[servers.Running]]] = {
    "ceiling": servers.ceiling,
    "fastapi": servers.fastapi,
    "tunerd": servers.tunerd,
}
KINDS = {"start": "1.5 KB", "logs": "20 KB"}
CONNECTIONS = (1, 16, 64)
# Requests signed a second of run: more than each can answer, so that the run ends with its time.
_PREPARE_PER_SECOND = {"ceiling": 40_000, "fastapi": 16_000, "tunerd": 25_000}

OF_CEILING = 0.40
TIMES_FASTAPI = 2.2
P99_MS = 25.0


def measure(folder: Path, *, rounds: int, seconds: float, progress: Callable[[str], None]) -> tuple[Table, list[Limit]]:
    """Requests a second and p99 of all servers; the medians over ``rounds``."""
    outcomes: dict[tuple[str, str, int], list[Outcome]] = {}
    for number in range(rounds):
        for kind, size in KINDS.items():
            for name, start in SERVERS.items():
                data = folder / f"{name}-{kind}-{number}"
                with start(data) as running:
                    plans = [_plan(running, name, kind, count, seconds) for count in CONNECTIONS]
                    found = [(plan, _run(plan)) for plan in plans]
                if name != "ceiling":
                    _verify(data, found)
                servers.remove(data)
                for plan, outcome in found:
                    outcomes.setdefault((name, kind, plan.connections), []).append(outcome)
                shown = ", ".join(f"{outcome.per_second:,.0f}/s" for _, outcome in found)
                progress(f"round {number + 1} of {rounds}, {size}, {name}: {shown}")
    return _table(outcomes), _limits(outcomes)


def _plan(running: servers.Running, name: str, kind: str, connections: int, seconds: float) -> Plan:
    return Plan(
        url=running.url,
        secret=servers.SECRET,
        kind=kind,
        connections=connections,
        seconds=seconds,
        prepare=int(_PREPARE_PER_SECOND[name] * (seconds + 0.5) * (0.5 if connections == 1 else 1)),
        run=secrets.token_hex(4),
    )


def _run(plan: Plan) -> Outcome:
    _, load_cores = servers.cores()
    answer = subprocess.run(
        [sys.executable, "-m", "bench.load", msgspec.json.encode(plan).decode()],
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, load_cores),
    )
    return msgspec.json.decode(answer.stdout, type=Outcome)


def _verify(data: Path, found: list[tuple[Plan, Outcome]]) -> None:
    """Speed counts only where every event that was answered is found afterwards, in the files of the killed server."""
    stored = servers.stored_ids(data)
    for plan, outcome in found:
        unanswered = set(outcome.unanswered)
        promised = {webhook_id(plan, number) for number in range(outcome.last_id + 1) if number not in unanswered}
        if outcome.refused or len(promised) != outcome.answered or promised - stored:
            lost = len(promised - stored)
            raise SystemExit(f"{data.name}: {outcome.refused} refused, {lost} of {len(promised)} answered events lost")


def _median(outcomes: list[Outcome], field: str) -> float:
    return float(statistics.median(getattr(outcome, field) for outcome in outcomes))


def _table(outcomes: dict[tuple[str, str, int], list[Outcome]]) -> Table:
    rows = []
    for kind, size in KINDS.items():
        for count in CONNECTIONS:
            rate = {name: _median(outcomes[name, kind, count], "per_second") for name in SERVERS}
            p99 = {name: _median(outcomes[name, kind, count], "p99_ms") for name in SERVERS}
            rows.append(
                [
                    size,
                    str(count),
                    *(f"{rate[name]:,.0f} ({p99[name]:.1f})" for name in SERVERS),
                    f"{rate['tunerd'] / rate['ceiling']:.2f}",
                    f"{rate['tunerd'] / rate['fastapi']:.2f}",
                ]
            )
    head = ["body", "connections", *(f"{name}: req/s (p99 ms)" for name in SERVERS), "of ceiling", "x FastAPI"]
    return Table("Receiver, every event on disk before its answer", head, rows)


def _limits(outcomes: dict[tuple[str, str, int], list[Outcome]]) -> list[Limit]:
    found = []
    most = CONNECTIONS[-1]
    for kind, size in KINDS.items():
        # A ratio of medians over interleaved rounds: what slows the machine for a while slows all three.
        rate = {name: _median(outcomes[name, kind, most], "per_second") for name in SERVERS}
        what = f"{size}, {most} connections"
        found += [
            Limit(f"{what}: share of the ceiling", rate["tunerd"] / rate["ceiling"], at_least=OF_CEILING),
            Limit(f"{what}: times FastAPI", rate["tunerd"] / rate["fastapi"], at_least=TIMES_FASTAPI),
            Limit(f"{what}: p99 ms", _median(outcomes["tunerd", kind, most], "p99_ms"), at_most=P99_MS),
        ]
    return found
