"""What the bars of `tunerd wait` show of a delivery."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from daemon.cli.moving import Moving, moving
from daemon.cli.watch import Bar, Lines


def a_job(*deliveries: tuple[str, str, int, int | None]) -> dict[str, Any]:
    fields = ("destination", "status", "bytes_done", "bytes_total")
    rows = [dict(zip(fields, delivery, strict=True)) for delivery in deliveries]
    return {"job_id": "job_1", "status": "completed", "progress": None, "deliveries": rows}


def test_one_download_for_all_then_each_destination() -> None:
    assert moving(a_job(("hub", "pending", 0, None)), fetched=False) == []
    assert moving(a_job(("hub", "running", 0, None)), fetched=False) == []
    both = a_job(("hub", "running", 40, 100), ("local", "running", 50, 100), ("s3", "failed", 0, None))
    assert moving(both, fetched=False) == [Moving("download", 50, 100)]
    assert moving(both, fetched=True) == [Moving("to hub", 40, 100), Moving("to local", 50, 100)]
    assert moving(a_job(("hub", "delivered", 100, 100)), fetched=True) == []


def test_bars_come_and_go() -> None:
    bar = Bar()
    bar.progress.live.console = Console(file=io.StringIO())

    def shown() -> list[tuple[str, float, float | None]]:
        return [(task.description, task.completed, task.total) for task in bar.progress.tasks[1:]]

    running = a_job(("hub", "running", 2_000_000, None))
    bar.show(running, None, [Moving("download", 2_000_000, None)])
    assert shown() == [("  download", 2_000_000, None)]
    bar.show(running, None, [Moving("to hub", 1, 9), Moving("to local", 2, 9)])
    assert shown() == [("  to hub", 1, 9), ("  to local", 2, 9)]
    bar.show(running, None, [Moving("to local", 3, 9)])
    assert shown() == [("  to local", 3, 9)]


def test_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines, job = Lines(), a_job(("hub", "running", 0, 1000))
    for done in range(0, 1001, 20):
        lines.show(job, None, [Moving("download", done, 1000)])
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11
    assert "download" in told[0] and "job_1" in told[0]
