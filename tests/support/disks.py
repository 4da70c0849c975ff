"""A disk of a few megabytes of its own: a tmpfs, which only root may mount."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NoMount(Exception):
    """Why there can be no disk of its own here."""


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """``folder``, made and mounted with room for ``size`` bytes."""
    folder.mkdir(parents=True)
    _mount(folder, f"size={size}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def resize(folder: Path, size: int) -> None:
    _mount(folder, f"remount,size={size}")


def _mount(folder: Path, options: str) -> None:
    try:
        found = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
    except OSError as problem:
        raise NoMount(str(problem)) from None
    if found.returncode:
        raise NoMount(f"a tmpfs cannot be mounted (root may): {found.stderr.strip()}")
