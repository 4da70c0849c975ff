"""File names from outside made safe: one path component, on any file system, that hides nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from .errors import Permanent

MAX_BYTES = 200  # of a name in UTF-8; file systems take 255, temporary names need some
MAX_SUFFIX_BYTES = 20  # a longer "extension" is a part of the name
MANIFEST = "manifest.json"

_FORBIDDEN = re.compile(r'[<>:"|?*]')  # on Windows and FAT
_DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def safe_name(name: str) -> str:
    """``name`` without folders, ``..``, control characters, leading dots and device names, at most 200 bytes."""
    last = [part for part in re.split(r"[/\\]", unicodedata.normalize("NFC", name)) if part.strip(". ")]
    text = last[-1] if last else ""
    text = "".join(char for char in text if unicodedata.category(char)[0] != "C")
    text = re.sub(r"\.{2,}", ".", _FORBIDDEN.sub("_", text))
    text = re.sub(r"\s+", " ", text).strip(". ")
    if _DEVICES.match(text):
        text = f"_{text}"
    return _shortened(text) or "output"


def unique_names(names: Iterable[str]) -> list[str]:
    """Safe names, no two alike (whatever the case): ``out.png``, ``out-2.png``. None is the manifest's."""
    taken = {MANIFEST}
    found = []
    for name in map(safe_name, names):
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = _shortened(name, f"-{number}")
        taken.add(candidate.casefold())
        found.append(candidate)
    return found


def is_component(name: str) -> bool:
    """Whether ``name`` can be the name of a folder as it is."""
    return _COMPONENT.fullmatch(name) is not None and ".." not in name and not name.endswith(".")


def check_component(job_id: str) -> str:
    """``job_id`` if it can be the name of a folder; else ``Permanent``."""
    if not is_component(job_id):
        raise Permanent(f"the job id {job_id[:200]!r} cannot be the name of a folder")
    return job_id


def _shortened(name: str, number: str = "") -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > MAX_SUFFIX_BYTES:
        stem, dot, suffix = name, "", ""
    end = f"{number}{dot}{suffix}"
    room = MAX_BYTES - len(end.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + end
