"""A folder on this machine: ``<path>/<job_id>/`` with the files and, written last, ``manifest.json``.

Nothing under a final name is ever partial, and nothing is written through a symbolic link: all work goes through the
opened folder. Publishing again keeps what is there with the right content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ..errors import Permanent, Retry
from ..names import MANIFEST, check_component
from .base import Package, Place, StagedFile

COPY_BLOCK = 1024 * 1024  # bytes

_TEMPORARY = re.compile(r"\.tunerd-[0-9a-f]{16}\.part")


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``path``: another folder than the daemon's output folder; absolute, or beginning with ``~``."""

    path: str | None = None


async def publish(package: Package, options: Options, place: Place) -> str:
    """Put ``package`` there; the folder's ``file://`` URL."""
    root = place.output_dir if options.path is None else await place.in_thread(_expanded, options.path)
    if not root.is_absolute():
        raise Permanent(f"the path {str(root)!r} is not absolute")
    try:
        await place.in_thread(_publish, package, root)
    except OSError as problem:
        raise Retry(f"{problem.strerror or problem}: {problem.filename or root}") from None
    return (root / package.job_id).as_uri()


def _expanded(path: str) -> Path:
    return Path(path).expanduser()


def _publish(package: Package, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    folder = _open_folder(root, check_component(package.job_id))
    try:
        _remove_temporaries(folder)
        manifest = _manifest(package)
        unchanged = _read(folder, MANIFEST) == manifest
        if not unchanged:
            _unlink(folder, MANIFEST)  # it says that all is there: not while we work
        for file in package.files:
            if not _holds(folder, file):
                _place(folder, file.name, file.path)
        os.fsync(folder)
        if not unchanged:
            _place(folder, MANIFEST, manifest)
            os.fsync(folder)
    finally:
        os.close(folder)


def _remove_temporaries(folder: int) -> None:
    """What an interrupted run left behind."""
    for name in os.listdir(folder):
        if _TEMPORARY.fullmatch(name):
            _unlink(folder, name)


def _open_folder(root: Path, name: str) -> int:
    """The job's folder, made if need be; never what a symbolic link points to."""
    parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.mkdir(name, dir_fd=parent)
            os.fsync(parent)
        except FileExistsError:
            pass
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise Permanent(f"{root / name} is there already and is not a folder (a symbolic link is not followed)")
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


def _open_file(folder: int, name: str) -> int | None:
    """A regular file for reading; ``None`` where there is none."""
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return None
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None


def _read(folder: int, name: str) -> bytes | None:
    descriptor = _open_file(folder, name)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _holds(folder: int, wanted: StagedFile) -> bool:
    """Whether the file is there already with the right content."""
    descriptor = _open_file(folder, wanted.name)
    if descriptor is None:
        return False
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size != wanted.bytes:
            return False
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted.sha256


def _place(folder: int, name: str, content: Path | bytes) -> None:
    """Give ``name`` its content in one rename: whoever looks sees all of it or what was there before."""
    temporary = f".tunerd-{secrets.token_hex(8)}.part"
    try:
        if isinstance(content, bytes):
            _write(folder, temporary, content)
        else:
            _link_or_copy(folder, temporary, content)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:
        raise Permanent(f"a folder stands where the file {name!r} belongs") from None
    finally:
        _unlink(folder, temporary)


def _link_or_copy(folder: int, temporary: str, source: Path) -> None:
    """A second name for the staged file (no byte is moved), or a copy on another file system."""
    if not source.is_file():
        raise Permanent(f"the fetched file {source.name!r} is no longer in the staging folder; deliver again")
    try:
        os.link(source, temporary, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:
        with source.open("rb") as reading:
            _write(folder, temporary, iter(lambda: reading.read(COPY_BLOCK), b""))


def _write(folder: int, name: str, content: bytes | object) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o644, dir_fd=folder), "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            file.writelines(content)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())


def _unlink(folder: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _manifest(package: Package) -> bytes:
    content = {
        "job_id": package.job_id,
        "provider_job_id": package.provider_job_id,
        "model": package.model,
        "version": package.version,
        "completed_at": _rfc3339(package.completed_at),
        "files": [
            {"name": file.name, "bytes": file.bytes, "sha256": file.sha256, "source_url": file.source_url}
            for file in package.files
        ],
    }
    if not package.files:
        content["output"] = package.output
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _rfc3339(when: float | None) -> str | None:
    if when is None:
        return None
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
