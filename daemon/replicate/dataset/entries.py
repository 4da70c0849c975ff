"""Which file gets which name in the archive.

The trainer reads an uploaded archive with file names as captions, whatever the user's ``caption_strategy`` was. So a
caption that stands elsewhere becomes the file name here, and its text file goes along under the same stem.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import msgspec

from ...errors import DatasetUnreadable
from ..outgoing import Dataset
from .listing import MEDIA, VIDEOS, Found, Listing
from .names import CAPTION_BYTES, Names, caption_stem, caption_text, fitted, safe_path, shown
from .reading import opened

_SIDECARS = (".txt", ".caption")


class Entry(msgspec.Struct, frozen=True):
    """A file and its name in the archive."""

    name: str
    file: Found


def entries(dataset: Dataset, listing: Listing) -> tuple[list[Entry], list[str]]:
    """The entries of one dataset, below its own folder, and what its user ought to know. Reads caption files.

    Raises ``DatasetUnreadable``.
    """
    names, by_caption = Names(), dataset.captions != "filename"
    by_path = {file.relative: file for file in listing.files}
    found: list[Entry] = []
    used, cut, missing = set[str](), 0, 0
    for file in listing.files if by_caption else ():
        if file.suffix not in MEDIA:
            continue
        sidecar = _sidecar(file, by_path)
        stem = caption_stem(dataset.prompt if dataset.captions == "instanceprompt" else _caption(sidecar))
        missing += not stem
        name, was_cut = fitted(stem or PurePosixPath(safe_path(file.relative)).stem, f".{file.suffix}")
        cut += was_cut
        name = names.unique(_join(dataset.name, str(PurePosixPath(file.relative).parent), name))
        found.append(Entry(name, file))
        if sidecar is not None:
            used.add(sidecar.relative)
            beside = name.removesuffix(f".{file.suffix}") + f".{sidecar.suffix}"
            if names.take(beside):
                found.append(Entry(beside, sidecar))
    found += [
        Entry(names.unique(_join(dataset.name, file.relative)), file)
        for file in listing.files
        if file.relative not in used and (not by_caption or file.suffix not in MEDIA)
    ]
    return found, list(_notes(dataset, listing.files, cut, missing))


def _notes(dataset: Dataset, files: Sequence[Found], cut: int, missing: int) -> Iterator[str]:
    if cut:
        yield (
            f"{dataset.name}: the captions of {cut} files are cut to the length of a file name, which is where the "
            "trainer reads the captions of an uploaded archive. The text files go along whole."
        )
    if missing:
        yield f"{dataset.name}: {missing} files have no caption; their file names are taken for it."
    if any(file.suffix in VIDEOS for file in files):
        yield f"{dataset.name}: videos go along, but the published trainer reads an uploaded archive as images."


def _sidecar(file: Found, by_path: dict[str, Found]) -> Found | None:
    stem = os.path.splitext(file.relative)[0]  # noqa: PTH122 - a name, no path of ours
    return next((by_path[stem + suffix] for suffix in _SIDECARS if stem + suffix in by_path), None)


def _caption(sidecar: Found | None) -> str:
    if sidecar is None:
        return ""
    with opened(sidecar) as file:
        start = file.read(CAPTION_BYTES)
    try:
        return caption_text(start)
    except UnicodeDecodeError:
        raise DatasetUnreadable(f"{shown(sidecar.relative)}: the caption is not UTF-8. Save it as UTF-8.") from None


def _join(*parts: str) -> str:
    return "/".join(safe_path(part) for part in parts if part not in {"", "."})
