"""Reads one file of a store by that store's own library, with the user's credentials. Blocks: belongs in a thread."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from ...core.stores import HubFile, S3Object
from ..errors import Permanent, Retry
from ..hub import library as hub
from ..s3.client import make_client
from ..s3.errors import judged


class Body(msgspec.Struct):
    """What follows, from ``start`` on: not always from where it was asked for."""

    start: int
    total: int | None
    etag: str | None
    blocks: Iterator[bytes]


class Reader(Protocol):
    def open(self, start: int, block: int) -> contextlib.AbstractContextManager[Body]:
        """The file from byte ``start`` on, in blocks of at most ``block`` bytes. Raises ``Retry`` or ``Permanent``."""


class HubReader:
    def __init__(self, file: HubFile, endpoint: str | None, token: str | None) -> None:
        self._file = file
        self._endpoint = endpoint
        self._token = token

    @contextlib.contextmanager
    def open(self, start: int, block: int) -> Iterator[Body]:
        what = f"reading {self._file.path} of {self._file.repo}"
        with hub.judged(what):
            api = hub.make_api(self._endpoint, self._token)
            tools = hub.prepared().utils
            headers = {**tools.build_hf_headers(token=api.token, library_name="tunerd"), "Accept-Encoding": "identity"}
            if start:
                headers["Range"] = f"bytes={start}-"
            path = f"{quote(self._file.revision, safe='')}/{quote(self._file.path)}"
            url = f"{api.endpoint}/{self._file.repo}/resolve/{path}"
            with tools.get_session().stream("GET", url, headers=headers, follow_redirects=True) as answer:
                if answer.is_error:
                    answer.read()
                tools.hf_raise_for_status(answer)
                yield self._body(answer, start, block)

    def _body(self, answer: Any, start: int, block: int) -> Body:
        length = answer.headers.get("Content-Length")
        begins, total = 0, int(length) if length else None
        if answer.status_code == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != start:
                raise Retry("the Hub answered with another part than asked for")
            begins, total = start, int(found[2])
        return Body(begins, total, answer.headers.get("ETag"), answer.iter_raw(block))


class S3Reader:
    def __init__(self, item: S3Object, options: Any) -> None:
        self._item = item
        self._options = options

    @contextlib.contextmanager
    def open(self, start: int, block: int) -> Iterator[Body]:
        with judged(f"reading s3://{self._item.bucket}/{self._item.key}"):
            client = make_client(self._options, connections=1)
            more = {"Range": f"bytes={start}-"} if start else {}
            found = client.get_object(Bucket=self._item.bucket, Key=self._item.key, **more)
            with contextlib.closing(found["Body"]) as body:
                begins = start if "ContentRange" in found else 0
                total = begins + int(found["ContentLength"])
                yield Body(begins, total, found.get("ETag"), iter(lambda: body.read(block), b""))


def refuse_whole(file: HubFile) -> Permanent:
    return Permanent(
        f"refused: hf://{file.repo} names a whole repository; an output has to name its files, as in "
        f"hf://{file.repo}/model.safetensors"
    )
