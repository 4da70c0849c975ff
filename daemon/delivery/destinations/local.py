"""A folder on this machine: ``<path>/<job_id>/`` with the files and, written last, ``manifest.json``.

Nothing under a final name is ever partial, and nothing is written through a symbolic link: all work goes through the
opened folder. Publishing again keeps what is there with the right content.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ..disk.beside import still_there, unpack_all
from ..disk.folder import Folder
from ..disk.latest import point_to
from ..disk.unpack import Limits
from ..errors import Permanent, Retry
from ..manifest import manifest
from ..names import MANIFEST, check_component
from ..staging import RESERVE
from .base import Counter, Package, Place, StagedFile

GIB = 1024**3


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A folder on the daemon's machine."""

    TITLE: ClassVar[str] = "Local folder"

    path: Annotated[
        Annotated[str, Meta(pattern=r"^(/|~/)")] | None,
        Meta(
            title="Folder",
            description="Another folder than the daemon's `TUNERD_OUTPUT_DIR`; absolute, or beginning with `~/`. "
            "Each job gets a folder of its own in it.",
            extra={"hint": "an absolute path is expected"},
        ),
    ] = None
    unpack: Annotated[
        bool,
        Meta(
            title="Unpack archives",
            description="Also unpack `.tar` (`.gz`, `.bz2`, `.xz`, `.zst`) and `.zip` files, each into a folder of its "
            "name beside it. One with links, devices or names that lead out is left packed; the manifest says why.",
        ),
    ] = False
    unpack_max_files: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)],
        Meta(title="Entries of an archive, at most", description="One with more is left packed."),
    ] = 10_000
    unpack_max_gib: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)],
        Meta(title="GiB of an archive's content, at most", description="One with more is left packed."),
    ] = 100
    latest: Annotated[
        bool,
        Meta(
            title="Link to the latest",
            description="Keep a link `latest/CONFIG_NAME` in the folder to the job of that configuration that "
            "completed last.",
        ),
    ] = False


def publish(package: Package, options: Options, place: Place) -> str:
    """Put ``package`` there; the folder's ``file://`` URL."""
    root = _root(options, place)
    try:
        _publish(package, root, options, place)
    except OSError as problem:
        raise Retry(f"{problem.strerror or problem}: {problem.filename or root}") from None
    return (root / package.job_id).as_uri()


def _root(options: Options, place: Place) -> Path:
    root = place.output_dir if options.path is None else Path(options.path).expanduser()
    if not root.is_absolute():
        raise Permanent(f"the path {str(root)!r} is not absolute")
    return root


def check(options: Options, place: Place) -> list[str]:
    """A file is written, read and removed again."""
    root = _root(options, place)
    there = root
    while not there.exists():
        there = there.parent
    if there != root:
        if not os.access(there, os.W_OK | os.X_OK):
            raise Permanent(f"{root} does not exist, and the daemon may not make it in {there}")
        return [f"{root} does not exist yet; it can be made in {there}"]
    name = f".tunerd-check-{os.getpid()}"
    with Folder.opened(root, name) as folder:
        try:
            folder.place("file", b"tunerd", lambda _: None)
            if folder.read("file") != b"tunerd":
                raise Permanent(f"{root}: what was written there is not what is read back")
            free = folder.free_bytes()
        finally:
            folder.remove("file")
            (root / name).rmdir()
    if free < RESERVE:
        raise Permanent(f"{root}: the disk is nearly full, {free / 1024**2:.0f} MiB are free")
    return [f"wrote, read and removed a file in {root}", f"{free / GIB:.1f} GiB are free there"]


def _publish(package: Package, root: Path, options: Options, place: Place) -> None:
    sent = Counter(package.bytes, place)

    def copied(size: int) -> None:
        place.check_stopping()
        sent.add(size)

    with Folder.opened(root, check_component(package.job_id)) as folder:
        folder.remove_temporaries()
        before = folder.read(MANIFEST)
        missing = [file for file in package.files if not folder.holds(file.name, file.bytes, file.sha256)]
        kept = still_there(folder, before) if options.unpack else {}
        if missing or before != manifest(package, list(kept.values())):
            folder.unlink(MANIFEST)  # it says that all is there: not while we work
        _check_room(folder, missing)
        copied(package.bytes - sum(file.bytes for file in missing))
        for file in missing:
            folder.place(file.name, file.path, copied)
        limits = Limits(options.unpack_max_files, options.unpack_max_gib * GIB)
        unpacked = unpack_all(folder, package, kept, limits, place.check_stopping) if options.unpack else []
        folder.sync()
        after = manifest(package, unpacked)
        if folder.read(MANIFEST) != after:
            folder.place(MANIFEST, after, lambda _: None)
            folder.sync()
    if options.latest and package.config_name:
        point_to(root, package.config_name, package.job_id)


def _check_room(folder: Folder, missing: list[StagedFile]) -> None:
    """On another file system files are copied: better not begin than to fill its last byte."""
    here = os.fstat(folder.descriptor).st_dev
    needed = sum(file.bytes for file in missing if file.path.exists() and file.path.stat().st_dev != here)
    free = folder.free_bytes()
    if needed and free < needed + RESERVE:
        raise Retry(
            f"{folder.path}: no space left on the disk: {needed / GIB:.2f} GiB are to be copied there, "
            f"{free / GIB:.2f} GiB are free"
        )
