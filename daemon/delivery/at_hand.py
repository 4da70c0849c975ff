"""What need not be fetched: files, and parts of files, that an interrupted run or an earlier delivery left here.

Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

import structlog

from ..store.records import Artifact
from .staging import Fetched, hash_file

log = structlog.get_logger()


def staged_already(path: Path, known: Artifact | None, job_id: str) -> Fetched | None:
    """The file ``path`` where it is here: whole from an interrupted run, or at an earlier delivery that still has it.

    The latter is what makes a second delivery work when the provider has removed the output long since.
    """
    if (whole := hash_file(path)) is not None:  # it gets this name only when it is whole and checked
        return whole
    if known is None:
        return None
    staging = path.parents[2]
    for candidate in [*path.parents[1].glob(f"*/{_glob_escaped(path.name)}"), staging.parent / job_id / path.name]:
        found = hash_file(candidate)
        if found == Fetched(known.bytes, known.sha256):
            path.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(candidate, path)
            return found
    return None


def take_over(path: Path) -> None:
    """Go on with what an earlier run, whose delivery failed, has of the file: its longest part moves to ours.

    The state beside it says what of it is sure, and ``Part`` proves that it belongs to what the server has now. A part
    that is open in another run (which is superseded, and notices soon) is left to it.
    """
    part, state = _part(path), _state(path)
    if part.exists():
        return
    others = [other for other in path.parents[1].glob(f"*/{_glob_escaped(part.name)}") if other.parent != path.parent]
    for other in sorted(others, key=_size, reverse=True):
        with contextlib.suppress(OSError), other.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.parent.mkdir(parents=True, exist_ok=True)
            other.replace(part)  # the data first: without its state it counts as nothing
            other.with_name(state.name).replace(state)
            log.info("download_taken_over", file=path.name, bytes=_size(part), of=other.parent.name)
            return


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _state(path: Path) -> Path:
    return path.with_name(f".{path.name}.state")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _glob_escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _link_or_copy(source: Path, path: Path) -> None:
    temporary = _part(path)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(path)
