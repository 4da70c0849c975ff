"""The entries of an archive from outside, judged: plain files and folders, each inside, each once, within limits."""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
MAX_DEPTH = 32  # folders; no trainer nests so deep
MAX_NAME_BYTES = 200  # of one component, as for the files that are fetched

_READ_AHEAD = 1024 * 1024  # bytes of a compressed tar at once


class Refused(Exception):
    """Why an archive is not unpacked."""


class Entry(msgspec.Struct, frozen=True):
    """A regular file (``content``), or a folder."""

    parts: tuple[str, ...]
    content: IO[bytes] | None


def folder_name(archive: str) -> str | None:
    """The name of the folder for what is in ``archive``: its own without the suffix; ``None``: it is no archive."""
    for suffix in SUFFIXES:
        if archive.lower().endswith(suffix) and len(archive) > len(suffix):
            return archive[: -len(suffix)]
    return None


@contextmanager
def entries(path: Path) -> Iterator[Iterator[Entry]]:
    """Each entry in turn, its content to be read before the next is asked for. What is wrong with it is ``Refused``."""
    reading = _zip if path.name.lower().endswith(".zip") else _tar
    try:
        with path.open("rb") as file:
            yield _guarded(reading(file, path.name.lower()))
    except _damage() as problem:
        raise Refused(f"it cannot be read: {problem}") from None
    except OSError as problem:
        if problem.errno is None:  # what bz2 and gzip say of rubbish; what the system says has a number
            raise Refused(f"it cannot be read: {problem}") from None
        raise


def _damage() -> tuple[type[Exception], ...]:
    """What the readers raise for an archive that is damaged, cut off, or of a kind that they do not know."""
    import zstandard  # noqa: PLC0415 - as in _unzstd

    own = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)
    return (*own, EOFError, ValueError, NotImplementedError, RuntimeError)


def _guarded(found: Iterator[Entry]) -> Iterator[Entry]:
    """No two entries of one name, whatever the case or the Unicode form."""
    seen: set[tuple[str, ...]] = set()
    for entry in found:
        if not entry.parts:
            continue  # the folder "." itself
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in entry.parts)
        if key in seen and entry.content is not None:
            raise Refused(f"two entries are called {'/'.join(entry.parts)!r} (upper and lower case aside)")
        seen.add(key)
        yield entry


def _tar(file: IO[bytes], name: str) -> Iterator[Entry]:
    stream = _unzstd(file) if name.endswith(".zst") else file
    with tarfile.open(fileobj=stream, mode="r|*", bufsize=_READ_AHEAD) as archive:
        for member in archive:
            if not (member.isreg() or member.isdir()):
                raise Refused(f"{member.name!r} is a link or a device; only files and folders are unpacked")
            parts = _parts(member.name)
            # Python's own judgement beside ours.
            tarfile.data_filter(member.replace(name="/".join(parts) or ".", deep=False), "/nonexistent")
            yield Entry(parts, archive.extractfile(member) if member.isreg() else None)


def _unzstd(file: IO[bytes]) -> IO[bytes]:
    import zstandard  # noqa: PLC0415 - the store loads it anyway, a node without archives need not

    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), _READ_AHEAD)


def _zip(file: IO[bytes], _name: str) -> Iterator[Entry]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise Refused(f"{member.filename!r} is a link or a device; only files and folders are unpacked")
            if member.flag_bits & 1:
                raise Refused(f"{member.filename!r} is encrypted")
            parts = _parts(member.filename)
            if member.is_dir():
                yield Entry(parts, None)
            else:
                with archive.open(member) as content:
                    yield Entry(parts, content)


def _parts(name: str) -> tuple[str, ...]:
    """The components of an entry's name. Raises ``Refused`` for one that leads out, or that file systems lack."""
    if name.startswith(("/", "\\")) or "\\" in name or name[1:2] == ":":
        raise Refused(f"the name {name[:200]!r} is absolute or another system's")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    for part in parts:
        if part == "..":
            raise Refused(f"the name {name[:200]!r} leads out of the folder")
        if not part.isprintable() or len(part.encode(errors="replace")) > MAX_NAME_BYTES or part.endswith((".", " ")):
            raise Refused(f"the name {name[:200]!r} cannot be one everywhere")
    if len(parts) > MAX_DEPTH:
        raise Refused(f"the name {name[:200]!r} lies more than {MAX_DEPTH} folders deep")
    return parts
