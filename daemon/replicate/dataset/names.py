"""Names inside the archive: safe on any disk, unique, carrying the caption where the trainer reads it from there."""

from __future__ import annotations

import codecs
import os
import unicodedata
from pathlib import PurePosixPath

NAME_BYTES = 240  # of one file name in UTF-8; file systems stop at 255
CAPTION_BYTES = 4096  # read of a caption file; far more than a file name can hold
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line separators


def safe_path(relative: str) -> str:
    """``relative`` as it stands in the archive: each part printable UTF-8, none special, none too long."""
    return "/".join(_safe_part(part) for part in PurePosixPath(relative).parts)


def shown(name: str) -> str:
    """A name of this machine for an answer or a log line."""
    return _clean(os.fsencode(name).decode("utf-8", "replace"))


def fitted(stem: str, suffix: str) -> tuple[str, bool]:
    """``stem + suffix`` within the length of a file name, and whether the stem was cut (between words, if it can)."""
    room = NAME_BYTES - len(suffix.encode())
    encoded = stem.encode()
    if len(encoded) <= room:
        return stem + suffix, False
    cut = encoded[:room].decode("utf-8", "ignore")
    words = cut.rpartition(" ")[0]
    return (words if len(words) > room // 2 else cut).rstrip(" .,;") + suffix, True


def caption_stem(text: str) -> str:
    """A caption as the stem of a file name; empty where nothing of it can stand there."""
    words = text.replace("/", " ").replace("\\", " ").split()
    return "".join(letter for letter in " ".join(words) if letter.isprintable()).strip(". ")


def caption_text(start: bytes) -> str:
    """The text of a caption file's beginning. Raises ``UnicodeDecodeError``; a letter cut at the end is dropped."""
    return codecs.getincrementaldecoder("utf-8")().decode(start.removeprefix(codecs.BOM_UTF8), final=False)


class Names:
    """Gives out each name once; also where a disk does not tell case apart."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        """``name``, below a numbered folder where it is taken: the file name may be a caption and stays as it is."""
        folder, _, file = name.rpartition("/")
        candidate, number = name, 1
        while not self.take(candidate):
            number += 1
            candidate = f"{folder}/{number}/{file}" if folder else f"{number}/{file}"
        return candidate

    def take(self, name: str) -> bool:
        """``False``: it is taken already."""
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in self._taken:
            return False
        self._taken.add(folded)
        return True


def _safe_part(part: str) -> str:
    clean = _clean(os.fsencode(part).decode("utf-8", "replace")).replace("\\", "_").strip()
    stem, dot, suffix = clean.rpartition(".")
    name, _ = fitted(stem, dot + suffix) if stem and len(suffix) <= 16 else fitted(clean, "")
    return "_" if name in {"", ".", ".."} else name


def _clean(text: str) -> str:
    return "".join("_" if unicodedata.category(letter) in _UNSAFE else letter for letter in text)
