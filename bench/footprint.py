"""Idle memory, and the time from the start of the process to its ready line."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from . import servers
from .report import Limit, Table

RUNS = 5
_IDLE_SECONDS = 3.0  # what the start allocated for a moment is back by then
RSS_MIB = 120.0
READY_SECONDS = 1.5


def measure(folder: Path, *, progress: Callable[[str], None]) -> tuple[Table, list[Limit]]:
    """Medians over fresh starts; the first, which writes the database, counts like the others."""
    starts, memory = [], []
    for number in range(RUNS):
        with servers.tunerd(folder / "footprint") as running:
            time.sleep(_IDLE_SECONDS)
            starts.append(running.start_seconds)
            memory.append(resident_mib(running.pid))
        progress(f"start {number + 1} of {RUNS}: ready after {starts[-1]:.2f} s, {memory[-1]:.0f} MiB")
    servers.remove(folder / "footprint")
    rows = [
        ["start to ready, s", f"{min(starts):.2f}", f"{statistics.median(starts):.2f}", f"{max(starts):.2f}"],
        ["idle RSS, MiB", f"{min(memory):.0f}", f"{statistics.median(memory):.0f}", f"{max(memory):.0f}"],
    ]
    return Table("Footprint", ["", "least", "median", "most"], rows), [
        Limit("start to ready, s", statistics.median(starts), at_most=READY_SECONDS),
        Limit("idle RSS, MiB", statistics.median(memory), at_most=RSS_MIB),
    ]


def resident_mib(pid: int) -> float:
    """VmRSS of a process and of all that it started."""
    total = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # ended meanwhile
        if int(fields["Pid"]) == pid or int(fields["PPid"]) == pid:
            total += int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
    return total
