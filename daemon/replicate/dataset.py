"""Local datasets: found in a dataloader configuration, packed into one archive, never sent as paths.

Facts of the trainer (SimpleTuner's Cog predictor): ``images`` is a zip that it unpacks and reads with file names as
captions, and it does so only where no ``dataloader_json`` is given. So captions in text files become file names here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ArchiveTooLarge, ConfigInvalid, DatasetEmpty, DatasetUnreadable
from .outgoing import Dataset

ARCHIVE_LIMIT = 100 * 1024 * 1024  # bytes; the Files API refuses more ("less than 100MB")
_MEDIA = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "avif", "heic", "jxl"),
        *("mp4", "mov", "webm", "mkv", "avi"),
        *("wav", "mp3", "flac", "ogg"),
    )
)
_NAME_BYTES = 240  # of a caption as a file name; file systems stop at 255 with the suffix
# An absolute path, or one below a home: on Unix, as a file URL, on Windows.
_PATH = re.compile(r"(~[^/\s]*)?/[^/\s][^\n]*|file:.*|[A-Za-z]:\\.*")
_CAPTIONS = frozenset({"filename", "textfile"})


def local_datasets(dataloader: Any) -> tuple[Dataset, ...]:
    """The local folders that a dataloader configuration (list of backends) names; empty where all are remote.

    Raises ``ConfigInvalid`` for another shape, ``DatasetUnreadable`` where local data cannot be brought along.
    """
    backends = [dataloader] if isinstance(dataloader, dict) else dataloader
    if not isinstance(backends, list) or not all(isinstance(backend, dict) for backend in backends):
        raise ConfigInvalid("`dataloader_config` must be a list of objects.", field="dataloader_config")
    local = [b for b in backends if b.get("instance_data_dir") and b.get("type", "local") == "local"]
    remote = [b for b in backends if b.get("instance_data_dir") and b not in local]
    if not local:
        for key in local_paths(backends):
            raise DatasetUnreadable(
                f"`dataloader_config` names {key} on this machine, which the trainer cannot read. "
                "Only instance_data_dir of a local backend is packed and uploaded.",
                field="dataloader_config",
            )
        return ()
    if remote:
        raise DatasetUnreadable(
            "`dataloader_config` mixes local folders with remote data; the trainer takes an uploaded archive or a "
            "dataloader configuration, not both. Submit one of them.",
            field="dataloader_config",
        )
    return tuple(_dataset(backend, number) for number, backend in enumerate(local))


def _dataset(backend: dict[str, Any], number: int) -> Dataset:
    directory, captions = backend["instance_data_dir"], backend.get("caption_strategy", "filename")
    if not isinstance(directory, str) or not Path(directory).is_absolute():
        raise DatasetUnreadable(
            f"instance_data_dir {directory!r}: an absolute path is needed, the daemon has no current folder of yours.",
            field="dataloader_config",
        )
    if captions not in _CAPTIONS:
        raise DatasetUnreadable(
            f"caption_strategy {captions!r} does not survive the upload; use filename or textfile.",
            field="dataloader_config",
        )
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(backend.get("id") or "")).strip(".-")[:80]
    return Dataset(name=f"{number:02d}-{name or 'dataset'}", path=directory, captions=captions)


def local_paths(value: Any, key: str = "a path", *, prose: bool = False) -> Iterator[str]:
    """The keys, at any depth, under which a path of this machine stands: none may leave it.

    The trainer could not read it, and it tells about the user. ``prose``: texts with blanks are prompts, not paths.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from local_paths(item, str(name), prose=prose)
    elif isinstance(value, list):
        for item in value:
            yield from local_paths(item, key, prose=prose)
    elif isinstance(value, str) and _PATH.fullmatch(value) and not (prose and re.search(r"\s", value)):
        yield key


@contextlib.asynccontextmanager
async def packed(datasets: Sequence[Dataset]) -> AsyncIterator[Path]:
    """The folders as one archive in the temporary folder; gone afterwards. Raises as ``pack``."""
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="tunerd-")
    try:
        archive = Path(folder.name, "dataset.zip")
        await asyncio.to_thread(pack, datasets, archive)
        yield archive
    finally:
        await asyncio.to_thread(folder.cleanup)


def pack(datasets: Sequence[Dataset], target: Path) -> int:
    """Write the archive to ``target``; its size in bytes. Blocking: for a thread.

    Raises ``DatasetUnreadable``, ``DatasetEmpty``, ``ArchiveTooLarge``.
    """
    with zipfile.ZipFile(target, "w", compression=zipfile.ZIP_STORED) as archive:  # images are compressed already
        for dataset in datasets:
            found, names = 0, set[str]()
            for file in _media_files(Path(dataset.path)):
                try:
                    archive.write(file, _unique(f"{dataset.name}/{_archive_name(file, dataset)}", names))
                except (OSError, UnicodeDecodeError) as problem:
                    raise DatasetUnreadable(f"{file.name} in dataset {dataset.name}: {problem}") from None
                found += 1
                if archive.fp is not None and archive.fp.tell() > ARCHIVE_LIMIT:
                    raise _too_large()
            if not found:
                raise DatasetEmpty(f"There are no images, videos or sounds in {dataset.path}.")
    size = target.stat().st_size
    if size > ARCHIVE_LIMIT:
        raise _too_large()
    return size


def _media_files(folder: Path) -> Iterator[Path]:
    """Visible media files below ``folder``, sorted; no hidden ones, and no folder is entered through a link."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as problem:
        raise DatasetUnreadable(f"{folder}: {problem.strerror}. Name a folder that the daemon may read.") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _media_files(entry)
        elif entry.suffix.lower() in _MEDIA:
            yield entry


def _archive_name(file: Path, dataset: Dataset) -> str:
    if dataset.captions != "textfile":
        return file.name
    sidecar = file.with_suffix(".txt")
    caption = sidecar.read_text(encoding="utf-8") if sidecar.exists() else ""
    words = caption.replace("/", " ").replace("\\", " ").split()
    name = "".join(character for character in " ".join(words) if character.isprintable()).strip(". ")
    if len(name.encode()) > _NAME_BYTES:
        raise DatasetUnreadable(
            f"{sidecar.name}: the caption has more than {_NAME_BYTES} bytes; the trainer reads captions of an uploaded "
            "archive from file names only. Shorten it."
        )
    return f"{name or file.stem}{file.suffix}"


def _unique(name: str, taken: set[str]) -> str:
    """``name``, below a numbered folder where it is taken: the file name is the caption and stays as it is."""
    folder, _, file = name.rpartition("/")
    candidate, number = name, 1
    while candidate.lower() in taken:  # the trainer's disk may not tell case apart
        number += 1
        candidate = f"{folder}/{number}/{file}"
    taken.add(candidate.lower())
    return candidate


def _too_large() -> ArchiveTooLarge:
    return ArchiveTooLarge(
        f"The packed dataset is larger than {ARCHIVE_LIMIT // 2**20} MiB, the limit of Replicate's file upload. "
        "Nothing was sent. Use fewer or smaller files, or a remote dataset."
    )
