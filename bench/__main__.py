"""All benchmarks in one run.

``python -m bench [--rounds 3] [--seconds 3] [--only receiver,journal,footprint,publish,downloads]``
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from daemon.logs import configure_logging

from . import downloads, footprint, journal, publish, receiver, servers
from .report import Limit, Table, limits_table

RESULTS = Path(__file__).parent / "results"
PARTS = ("footprint", "journal", "publish", "downloads", "receiver")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="All benchmarks in one run.")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; figures are their medians")
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each number of connections")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, separated by commas")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")

    configure_logging("json", logging.WARNING)  # as a daemon: no line for each event
    RESULTS.mkdir(parents=True, exist_ok=True)
    tables: list[Table] = []
    limits: list[Limit] = []
    # On the disk of the project, not in a temporary file system that lives in memory: syncs are to cost what they cost.
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="run-") as folder:
        for part in parts:
            table, found = _measure(part, Path(folder), given.rounds, given.seconds)
            tables.append(table)
            limits += found

    server_cores, load_cores = servers.cores()
    print(
        f"\nservers on core {sorted(server_cores)}, load on core {sorted(load_cores)}; medians of {given.rounds} rounds"
    )
    for table in [*tables, limits_table(limits)]:
        print(f"\n{table.text()}")
    (RESULTS / "latest.json").write_bytes(
        msgspec.json.format(msgspec.json.encode({"tables": tables, "limits": limits}))
    )
    return 0 if all(limit.held for limit in limits) else 1


def _measure(part: str, folder: Path, rounds: int, seconds: float) -> tuple[Table, list[Limit]]:
    progress = _progress()
    if part == "receiver":
        return receiver.measure(folder, rounds=rounds, seconds=seconds, progress=progress)
    if part == "journal":
        return journal.measure(folder, progress=progress)
    if part == "publish":
        return publish.measure(folder, progress=progress)
    if part == "downloads":
        return downloads.measure(folder, rounds=rounds, progress=progress)
    return footprint.measure(folder, progress=progress)


def _progress() -> Callable[[str], None]:
    begun = time.monotonic()

    def show(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {text}", file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
