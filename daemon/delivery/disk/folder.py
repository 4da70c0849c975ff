"""A folder held open: whatever is renamed or linked around it, names are looked up in it and nowhere else.

Everything here blocks and belongs in a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from ..errors import Permanent
from ..judging import file_gone

COPY_BLOCK = 1024 * 1024  # bytes

TEMPORARY = re.compile(r"\.tunerd-[0-9a-f]{16}\.part")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def temporary_name() -> str:
    """Hidden, recognised after a crash, and nobody else's."""
    return f".tunerd-{secrets.token_hex(8)}.part"


class Folder:
    """``path`` is for messages only."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    @contextlib.contextmanager
    def opened(cls, root: Path, name: str) -> Iterator[Folder]:
        """``root/name``, both made if need be; never what a symbolic link ``name`` points to."""
        root.mkdir(parents=True, exist_ok=True)
        parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor = Folder(parent, root).make(name)
        finally:
            os.close(parent)
        try:
            yield cls(descriptor, root / name)
        finally:
            os.close(descriptor)

    def make(self, name: str) -> int:
        """The folder ``name`` in here, made if need be, as an open descriptor."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=self.descriptor)
            os.fsync(self.descriptor)
        if not stat.S_ISDIR(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode):
            raise Permanent(
                f"{self.path / name} is there already and is not a folder (a symbolic link is not followed)"
            )
        return os.open(name, _FOLDER, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Make the names in here survive a power loss."""
        os.fsync(self.descriptor)

    def open_file(self, name: str) -> BufferedReader | None:
        """A regular file for reading; ``None`` where there is none."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode):
                return None
            return os.fdopen(os.open(name, flags, dir_fd=self.descriptor), "rb")
        except OSError:
            return None

    def read(self, name: str) -> bytes | None:
        file = self.open_file(name)
        if file is None:
            return None
        with file:
            return file.read()

    def holds(self, name: str, size: int, sha256: str) -> bool:
        """Whether a regular file of this content is there."""
        file = self.open_file(name)
        if file is None:
            return False
        with file:
            return os.fstat(file.fileno()).st_size == size and hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def place(self, name: str, content: Path | bytes, copied: Callable[[int], None]) -> None:
        """Give ``name`` its content in one rename: whoever looks sees all of it or what was there before."""
        temporary = temporary_name()
        try:
            if isinstance(content, bytes):
                self._write(temporary, iter([content]), copied)
            else:
                self._link_or_copy(temporary, content, copied)
            os.replace(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except IsADirectoryError:
            raise Permanent(f"a folder stands where the file {name!r} belongs") from None
        finally:
            self.unlink(temporary)

    def _link_or_copy(self, temporary: str, source: Path, copied: Callable[[int], None]) -> None:
        """A second name for the staged file (no byte is moved), or a copy on another file system."""
        try:
            size = source.stat().st_size
        except FileNotFoundError:
            raise file_gone(source.name) from None
        try:
            os.link(source, temporary, dst_dir_fd=self.descriptor, follow_symlinks=False)
            copied(size)
        except OSError:
            with source.open("rb") as reading:
                self._write(temporary, iter(lambda: reading.read(COPY_BLOCK), b""), copied)

    def _write(self, name: str, blocks: Iterator[bytes], copied: Callable[[int], None]) -> None:
        with self.create(name) as file:
            for block in blocks:
                file.write(block)
                copied(len(block))
            file.flush()
            os.fsync(file.fileno())

    def create(self, name: str) -> IO[bytes]:
        """A new file for writing."""
        return os.fdopen(os.open(name, _NEW_FILE, 0o644, dir_fd=self.descriptor), "wb")

    def unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Whatever ``name`` is, with all that is in it; nothing that a link in it points to."""
        try:
            is_folder = stat.S_ISDIR(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        if is_folder:
            shutil.rmtree(name, dir_fd=self.descriptor)
        else:
            self.unlink(name)

    def remove_temporaries(self) -> None:
        """What an interrupted run left behind."""
        with os.scandir(self.descriptor) as found:
            names = [entry.name for entry in found if TEMPORARY.fullmatch(entry.name)]
        for name in names:
            self.remove(name)

    def free_bytes(self) -> int:
        """What a user without privileges may still write here."""
        found = os.fstatvfs(self.descriptor)
        return found.f_bavail * found.f_frsize
