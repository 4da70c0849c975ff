"""One model repository: looked at, and committed to exactly once. Blocks: belongs in a thread."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .library import Moved, Unanswered, judged, make_api, prepared

BRANCH = "main"
_AT_ONCE = 3  # files of a commit that are uploaded at the same time


class File(msgspec.Struct, frozen=True):
    """A file of the commit."""

    content: Path | bytes
    bytes: int
    sha256: str


class Repo:
    """``check`` raises once the delivery was given up; ``sent`` is told bytes as they go, from threads."""

    def __init__(
        self,
        repo_id: str,
        endpoint: str | None,
        token: str | None,
        check: Callable[[], None],
        sent: Callable[[int], None],
    ) -> None:
        self._api = make_api(endpoint, token)
        self._id = repo_id
        self._check = check
        self._sent = sent

    @property
    def url(self) -> str:
        return f"{self._api.endpoint}/{self._id}"

    def who(self) -> Mapping[str, Any]:
        """The account of the token."""
        with judged("asking whose token it is"):
            found: Mapping[str, Any] = self._api.whoami()
            return found

    def make(self, *, private: bool) -> None:
        """Make it, unless it is there: then its visibility stays."""
        with judged(f"making {self._id}"):
            self._api.create_repo(self._id, private=private, exist_ok=True)

    def head(self) -> str | None:
        """The branch's newest commit."""
        with judged(f"looking at {self._id}"):
            return self._api.model_info(self._id, revision=BRANCH, timeout=60).sha

    def missing(self, files: Mapping[str, File], head: str | None) -> list[str]:
        """The names of ``files`` that are not there with this content at ``head``."""
        if head is None:
            return list(files)
        with judged(f"looking into {self._id}"):
            there = {found.path: found for found in self._api.get_paths_info(self._id, list(files), revision=head)}
        return [name for name, file in files.items() if not _same(there.get(name), file)]

    def read(self, name: str, head: str | None, limit: int) -> bytes | None:
        """A small file's content; ``None`` where there is none."""
        if head is None:
            return None
        with judged(f"reading {name} of {self._id}"):
            [*found] = self._api.get_paths_info(self._id, [name], revision=head)
            if not found or getattr(found[0], "size", limit + 1) > limit:
                return None
            library = prepared()
            headers = library.utils.build_hf_headers(token=self._api.token, library_name="tunerd")
            answer = library.utils.get_session().get(f"{self.url}/resolve/{head}/{name}", headers=headers)
            library.utils.hf_raise_for_status(answer)
            return bytes(answer.content)

    def commit(self, files: Mapping[str, File], head: str | None, title: str, text: str, *, xet: bool) -> None:
        """One commit on top of ``head`` with all of ``files``.

        Where no answer comes, the branch tells whether it was done: nothing is committed twice.
        """
        operations: list[Any] = []
        opened = []
        try:
            with judged(f"committing to {self._id}"):
                for name, file in files.items():
                    content = file.content if isinstance(file.content, bytes) else str(_there(file.content))
                    operation = prepared().CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
                    operation.upload_info.sha256 = bytes.fromhex(file.sha256)  # known: not hashed again
                    if isinstance(file.content, Path) and not xet:
                        # An open file instead of a path is what has the library go by LFS.
                        stream = _Stream(file.content, self._check, self._sent)
                        opened.append(stream)
                        operation.path_or_fileobj = stream
                    operations.append(operation)
                self._check()
                self._api.create_commit(
                    self._id,
                    operations,
                    commit_message=title,
                    commit_description=text,
                    revision=BRANCH,
                    num_threads=_AT_ONCE,
                    parent_commit=head,  # refused where the branch moved meanwhile
                )
        except (Moved, Unanswered):
            if self.missing(files, self.head()):
                raise
        finally:
            for stream in opened:
                stream.close()


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(path)
    return path


def _same(there: Any, file: File) -> bool:
    if there is None or getattr(there, "size", None) != file.bytes:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == file.sha256)
    content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()  # small: git keeps it
    return bool(there.blob_id == _git_hash(content))


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Stream(io.BufferedIOBase):
    """A file whose reading is counted once, and ends when the delivery was given up."""

    def __init__(self, path: Path, check: Callable[[], None], sent: Callable[[int], None]) -> None:
        self._file = path.open("rb", buffering=0)
        self._check = check
        self._sent = sent
        self._counted = 0  # the furthest byte that was told: what is sent again is not

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        block = self._file.readall() if size is None or size < 0 else self._file.read(size)
        at = self._file.tell()
        if at > self._counted:
            self._sent(at - self._counted)
            self._counted = at
        return block or b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
