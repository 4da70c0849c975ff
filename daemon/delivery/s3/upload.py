"""One object: put there in pieces with bounded memory, found again, checked. Blocks: belongs in a thread.

Not boto3's own ``upload_file``: it tells no upload id before it is done, so a killed process leaves parts behind that
nobody finds and the user pays for. Nor its CRT client, which tells none either, and which boto3 1.44 cannot point at an
endpoint with a port: most servers that are not AWS have one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import structlog

from ..errors import Permanent, Retry
from ..threads import worker_pool
from .errors import Denied, Missing, UnknownCall, judged
from .slices import BLOCK, Slice

log = structlog.get_logger()

MIB = 1024 * 1024
PART_BYTES = 16 * MIB  # at least; 5 MiB is the least that S3 takes
MAX_PARTS = 9_000  # S3 takes 10,000
WORKERS = 4  # parts at once: one stream seldom fills a line
SHA256 = "sha256"  # the metadata's key; servers differ in its case


class Bucket:
    """The objects of one delivery. ``check`` raises once the delivery was given up."""

    def __init__(self, client: Any, name: str, check: Callable[[], None]) -> None:
        self._client = client
        self._name = name
        self._check = check

    def holds(self, key: str, size: int, sha256: str) -> bool:
        """Whether the object is there already. One that may not be looked at is not: without the right to list a
        bucket, S3 answers 403 for what is missing."""
        try:
            with judged(f"{self._name}/{key}"):
                found = self._client.head_object(Bucket=self._name, Key=key)
        except (Missing, Denied):
            return False
        return int(found["ContentLength"]) == size and _sha256(found) == sha256

    def put(
        self, key: str, body: Path | bytes, sha256: str, headers: dict[str, str], sent: Callable[[int], None]
    ) -> None:
        """Send ``body`` and make sure of what is there then. ``sent`` is told the bytes of each piece, from threads.

        ``headers``: further ones, as boto3 names them.
        """
        described = {**headers, "Metadata": {SHA256: sha256}}
        with judged(f"{self._name}/{key}"):
            if isinstance(body, bytes):
                size = len(body)
                md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
                etag = self._put_small(key, body, md5, described)
                sent(size)
            else:
                with _opened(body) as descriptor:
                    size = os.fstat(descriptor).st_size
                    etag = self._put_file(key, descriptor, size, described, sent)
        self._make_sure(key, size, sha256, etag)

    def _put_small(self, key: str, body: Any, md5: str, described: dict[str, Any]) -> str:
        answer = self._client.put_object(Bucket=self._name, Key=key, Body=body, ContentMD5=md5, **described)
        return str(answer.get("ETag", ""))

    def _put_file(
        self, key: str, descriptor: int, size: int, described: dict[str, Any], sent: Callable[[int], None]
    ) -> str:
        if size <= PART_BYTES:
            whole = Slice(descriptor, 0, size, self._check)
            etag = self._put_small(key, whole, whole.md5(), described)
            sent(size)
            return etag
        upload_id = self._client.create_multipart_upload(Bucket=self._name, Key=key, **described)["UploadId"]
        try:
            parts = self._put_parts(key, upload_id, descriptor, size, sent)
            answer = self._client.complete_multipart_upload(
                Bucket=self._name, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
            return str(answer.get("ETag", ""))
        except BaseException:
            self._abort(key, upload_id)
            raise

    def _put_parts(
        self, key: str, upload_id: str, descriptor: int, size: int, sent: Callable[[int], None]
    ) -> list[dict[str, Any]]:
        length = part_bytes(size)
        failed = threading.Event()
        failures: list[BaseException] = []  # the first says why, the others only that it did

        def check() -> None:
            self._check()
            if failed.is_set():
                raise Retry("another part failed")

        def put(number: int) -> dict[str, Any]:
            start = (number - 1) * length
            part = Slice(descriptor, start, min(length, size - start), check)
            try:
                answer = self._client.upload_part(
                    Bucket=self._name, Key=key, UploadId=upload_id, PartNumber=number, Body=part, ContentMD5=part.md5()
                )
            except BaseException as problem:
                failures.append(problem)
                failed.set()
                raise
            sent(len(part))
            return {"PartNumber": number, "ETag": answer["ETag"]}

        with worker_pool(WORKERS, "s3-part") as workers:
            futures = [workers.submit(put, number) for number in range(1, -(-size // length) + 1)]
            try:
                return [future.result() for future in futures]
            except BaseException:
                failed.set()
                workers.shutdown(wait=True, cancel_futures=True)
                if failures:
                    raise failures[0] from None
                raise

    def _make_sure(self, key: str, size: int, sha256: str, etag: str) -> None:
        with judged(f"looking at {key} after it was sent"):
            found = self._client.head_object(Bucket=self._name, Key=key)
        there = (int(found["ContentLength"]), _sha256(found), str(found.get("ETag", "")).strip('"'))
        if there != (size, sha256, etag.strip('"')):
            raise Retry(f"{key}: what is there now ({there[0]} bytes) is not what was sent ({size} bytes)")

    def read_back(self, key: str, sha256: str, read: Callable[[int], None]) -> None:
        """Read the whole object and compare its SHA-256."""
        digest = hashlib.sha256()
        with judged(f"reading {key} back"):
            body = self._client.get_object(Bucket=self._name, Key=key)["Body"]
            with contextlib.closing(body):
                while block := body.read(BLOCK):
                    self._check()
                    digest.update(block)
                    read(len(block))
        if digest.hexdigest() != sha256:
            self.delete(key)
            raise Retry(f"{key}: what was read back is not what was sent; it was deleted")

    def delete(self, key: str) -> bool:
        """``False``: it may not be deleted."""
        try:
            with judged(f"deleting {key}"):
                self._client.delete_object(Bucket=self._name, Key=key)
        except Denied:
            return False
        except Missing:
            pass
        return True

    def abort_unfinished(self, prefix: str, keys: Iterable[str]) -> int:
        """End the uploads of ``keys`` (all below ``prefix``) that a killed process began; how many there were."""
        ours, ended = set(keys), 0
        try:
            with judged("listing unfinished uploads"):
                pages = self._client.get_paginator("list_multipart_uploads")
                for page in pages.paginate(Bucket=self._name, Prefix=prefix):
                    for upload in page.get("Uploads", ()):
                        if upload["Key"] in ours:
                            self._abort(upload["Key"], upload["UploadId"])
                            ended += 1
        except (Denied, UnknownCall) as reason:
            log.info("s3_uploads_not_listed", bucket=self._name, reason=str(reason))
        if ended:
            log.info("s3_unfinished_uploads_aborted", bucket=self._name, count=ended)
        return ended

    def _abort(self, key: str, upload_id: str) -> None:
        """Best effort: what stays is found by the next run."""
        try:
            with judged(f"ending the upload of {key}"):
                self._client.abort_multipart_upload(Bucket=self._name, Key=key, UploadId=upload_id)
        except (Permanent, Retry) as reason:
            log.info("s3_upload_not_aborted", bucket=self._name, key=key, reason=str(reason))

    def link(self, key: str, seconds: int) -> str:
        """A URL that anyone can read ``key`` at, for so long."""
        return str(
            self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._name, "Key": key}, ExpiresIn=seconds
            )
        )


def part_bytes(size: int) -> int:
    """The length of a part: whole MiB, so that no more than ``MAX_PARTS`` are needed."""
    return max(PART_BYTES, -(-size // MAX_PARTS // MIB) * MIB)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sha256(found: dict[str, Any]) -> str | None:
    return next((value for key, value in found.get("Metadata", {}).items() if key.lower() == SHA256), None)
