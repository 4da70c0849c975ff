"""What a dataset folder holds: the files that go along, and what stays here and why. Nothing is skipped silently."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec

from ...errors import DatasetEmpty, DatasetUnreadable
from ..outgoing import LeftOut
from .names import shown

MOST_FILES = 100_000  # in one dataset; 100 MiB of anything trainable are fewer

# What SimpleTuner trains on. Its image kinds are what Pillow opens; these are the usual ones.
IMAGES = frozenset("png jpg jpeg jpe jfif webp bmp gif tif tiff avif heic heif jxl".split())  # noqa: SIM905 - reads better
VIDEOS = frozenset("mp4 mov webm mkv avi m4v mpg mpeg wmv flv 3gp ogv".split())  # noqa: SIM905
SOUNDS = frozenset("wav mp3 flac ogg oga opus m4a aac".split())  # noqa: SIM905
MEDIA = IMAGES | VIDEOS | SOUNDS
CAPTIONS = frozenset("txt caption json jsonl csv parquet".split())  # noqa: SIM905

_SECRET = re.compile(
    r".*\.(pem|key|p12|pfx|jks|kdbx|ppk|asc|gpg|env)|id_(rsa|dsa|ecdsa|ed25519)(\.pub)?|"
    r"(.*[._-])?(credentials?|secrets?|service[_-]?account|api[_-]?(key|token)s?)(\.(txt|json|csv|ini))?",
    re.IGNORECASE,
)
_JUNK = re.compile(r"thumbs\.db|desktop\.ini|__macosx|__pycache__|node_modules", re.IGNORECASE)
# SimpleTuner's own caches beside the images: they hold this machine's paths.
_TRAINER_CACHE = re.compile(r"aspect_ratio_bucket_(indices|metadata).*\.json|.*_cache\.json", re.IGNORECASE)


class Found(msgspec.Struct, frozen=True):
    """A file that goes along. ``relative``: below the dataset's folder, as the file system writes it."""

    path: str
    relative: str
    bytes: int
    modified: int  # nanoseconds; with size and inode it tells a file that changes meanwhile
    inode: int

    @property
    def suffix(self) -> str:
        return suffix_of(self.relative)


class Listing(msgspec.Struct, frozen=True):
    """Sorted by name."""

    files: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1][1:].lower()  # noqa: PTH122 - on names that are no paths of ours


def list_folder(folder: str) -> Listing:
    """Everything below ``folder``. Blocking: for a thread.

    Raises ``DatasetUnreadable`` (missing, no folder, no permission, a link that leads out or in circles, a device or
    pipe) and ``DatasetEmpty``.
    """
    try:
        root = Path(folder).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as problem:
        raise DatasetUnreadable(
            f"{shown(folder)}: {_reason(problem)}. Name a folder that the daemon may read."
        ) from None
    walk = _Walk(root)
    walk.run()
    files = tuple(sorted(walk.files, key=lambda file: os.fsencode(file.relative)))
    if not any(file.suffix in MEDIA for file in files):
        there = f" {len(files) + len(walk.left_out)} other files are there." if files or walk.left_out else ""
        raise DatasetEmpty(f"There are no images, videos or sounds in {shown(folder)}.{there}")
    return Listing(files, tuple(sorted(walk.left_out, key=lambda item: item.name)))


class _Walk:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.files: list[Found] = []
        self.left_out: list[LeftOut] = []

    def run(self) -> None:
        folders = [""]
        while folders:
            relative = folders.pop()
            try:
                with os.scandir(self._root / relative) as entries:
                    found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except (OSError, ValueError) as problem:
                raise self._unreadable(relative, _reason(problem)) from None
            for entry in found:
                below = f"{relative}/{entry.name}" if relative else entry.name
                try:
                    if self._look_at(entry, below):
                        folders.append(below)
                except OSError as problem:
                    raise self._unreadable(below, _reason(problem)) from None

    def _look_at(self, entry: os.DirEntry[str], relative: str) -> bool:
        """Note the entry; ``True`` for a folder to go into."""
        is_link = entry.is_symlink()
        is_folder = entry.is_dir(follow_symlinks=False)
        reason = _why_not(entry.name)
        if reason is not None:
            self._leave(relative + ("/" if is_folder else ""), reason)
            return False
        if is_folder:
            return True
        path = self._target(relative) if is_link else entry.path
        status = Path(path).lstat()
        if is_link and stat.S_ISDIR(status.st_mode):
            if (self._root / relative).is_relative_to(path):
                raise self._unreadable(relative, "a link that leads in circles")
            self._leave(relative, "a link to a folder; that folder itself is looked at")
        elif not stat.S_ISREG(status.st_mode):
            raise self._unreadable(relative, "neither a file nor a folder but a pipe, socket or device; take it out")
        else:
            self._file(path, relative, status)
        return False

    def _file(self, path: str, relative: str, status: os.stat_result) -> None:
        if suffix_of(relative) not in MEDIA | CAPTIONS:
            self._leave(relative, "not of a kind that a trainer reads")
            return
        if len(self.files) >= MOST_FILES:
            raise DatasetUnreadable(
                f"{shown(str(self._root))} holds more than {MOST_FILES} files. Name the folder of one dataset."
            )
        self.files.append(Found(path, relative, status.st_size, status.st_mtime_ns, status.st_ino))

    def _target(self, relative: str) -> str:
        """Where a link leads, if that is inside the dataset."""
        try:
            target = (self._root / relative).resolve(strict=True)
        except RuntimeError:
            raise self._unreadable(relative, "a link that leads in circles") from None
        if not target.is_relative_to(self._root):
            raise self._unreadable(relative, "a link that leads out of the dataset; put the file itself there")
        hidden = next((part for part in target.relative_to(self._root).parts if _why_not(part) is not None), None)
        if hidden is not None:
            raise self._unreadable(relative, f"a link to {shown(hidden)}, which is not sent")
        return str(target)

    def _leave(self, relative: str, reason: str) -> None:
        self.left_out.append(LeftOut(shown(relative), reason))

    def _unreadable(self, relative: str, reason: str) -> DatasetUnreadable:
        where = shown(str(self._root / relative) if relative else str(self._root))
        return DatasetUnreadable(f"{where}: {reason}. Nothing was sent.")


def _why_not(name: str) -> str | None:
    if name.startswith("."):
        return "hidden"
    if _SECRET.fullmatch(name):
        return "it may hold a secret"
    if _JUNK.fullmatch(name):
        return "kept by other programs"
    return "a cache of the trainer" if _TRAINER_CACHE.fullmatch(name) else None


def _reason(problem: Exception) -> str:
    if isinstance(problem, RuntimeError):  # what Python 3.11 makes of ELOOP
        return "a link that leads in circles"
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
