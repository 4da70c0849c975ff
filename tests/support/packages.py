"""Staged files, packages of them, and a place that notes what is reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.delivery.destinations.base import Package, Place, StagedFile
from tests.support.outputs import sha256


def staged(folder: Path, contents: Mapping[str, bytes]) -> tuple[StagedFile, ...]:
    """``contents`` as an earlier step would have fetched them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        source = f"https://replicate.delivery/{name}"
        files.append(StagedFile(name, folder / name, len(content), sha256(content), source))
    return tuple(files)


def package(files: tuple[StagedFile, ...] = (), **changes: Any) -> Package:
    values: dict[str, Any] = {
        "job_id": "job_abc",
        "provider_job_id": "abc",
        "model": "acme/trainer",
        "version": "5c7d",
        "completed_at": 1_700_000_000.25,
        "files": files,
        "output": None,
    }
    return Package(**(values | changes))


class Reports:
    """What a destination reported, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.all.append((done, total))


def place(settings: Settings, reports: Reports | None = None) -> Place:
    return Place(settings, reports or Reports())
