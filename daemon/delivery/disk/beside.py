"""The archives of a package, each unpacked into a folder beside it; what the manifest says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from ..destinations.base import Package
from ..names import MANIFEST
from ..staging import Fetched, hash_file
from .archive import Refused, folder_name
from .folder import Folder
from .unpack import Limits, Unpacked, unpack

log = structlog.get_logger()

Told = dict[str, Any]  # {"archive", "folder", "files": [{"name", "bytes", "sha256"}]} or {"archive", "refused"}


class _Entry(msgspec.Struct):
    archive: str
    folder: str
    files: list[Unpacked]


class _Manifest(msgspec.Struct):
    unpacked: list[Any] = []


def still_there(folder: Folder, manifest: bytes | None) -> dict[str, Told]:
    """What a manifest tells of each archive: what was unpacked and is unchanged since, and what was refused."""
    found = {}
    try:
        for told in msgspec.json.decode(manifest or b"{}", type=_Manifest).unpacked:
            if "refused" in told:
                found[str(told["archive"])] = told
            elif "folder" in told:
                entry = msgspec.convert(told, _Entry)
                inside = folder.path / entry.folder
                if all(hash_file(inside / file.name) == Fetched(file.bytes, file.sha256) for file in entry.files):
                    found[entry.archive] = told
    except (msgspec.MsgspecError, TypeError, KeyError):
        return {}  # the user's own file of that name
    return found


def unpack_all(
    folder: Folder, package: Package, kept: Mapping[str, Told], limits: Limits, check: Callable[[], None]
) -> list[Told]:
    """Unpack what ``kept`` has not. What was refused is tried again: limits change.

    An archive that is refused stays packed: it is delivered all the same.
    """
    taken = {MANIFEST, *(file.name.casefold() for file in package.files)}
    told = []
    for file in package.files:
        name = folder_name(file.name)
        if name is None:
            continue
        while name.casefold() in taken:
            name += "-unpacked"
        taken.add(name.casefold())
        if kept.get(file.name, {}).get("folder") == name:
            told.append(kept[file.name])
            continue
        try:
            files = unpack(folder, file.path, name, limits, check)
            told.append({"archive": file.name, "folder": name, "files": msgspec.to_builtins(files)})
        except Refused as reason:
            log.warning("archive_not_unpacked", job_id=package.job_id, archive=file.name, reason=str(reason))
            told.append({"archive": file.name, "refused": str(reason)})
    return told
