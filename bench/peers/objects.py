"""Both ends of a delivery in one process: a file to download, and an S3 server that counts what it gets and keeps none.

``python -m bench.peers.objects FILE``: ``GET /…/output.bin`` is FILE; everything under ``/bucket`` is S3. ``GET
/counted`` tells the bytes of each whole object. What arrives is checked by the Content-MD5 of each body.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BLOCK = 1024 * 1024  # bytes


class Objects(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, file: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.file = file
        self.lock = threading.Lock()
        self.whole: dict[str, tuple[int, dict[str, str]]] = {}  # key → (bytes, metadata headers)
        self.parts: dict[str, tuple[dict[int, int], dict[str, str]]] = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Objects

    def log_message(self, *_: object) -> None:
        pass

    @property
    def key(self) -> str:
        return urlsplit(self.path).path

    def do_GET(self) -> None:
        if self.key.endswith("/output.bin"):
            self._file()
        elif self.key == "/counted":
            counted = {key: size for key, (size, _) in self.server.whole.items()}
            self._answer(200, json.dumps(counted).encode())
        elif "uploads" in parse_qs(urlsplit(self.path).query, keep_blank_values=True):
            self._answer(200, b"<ListMultipartUploadsResult></ListMultipartUploadsResult>")
        else:
            self._answer(404, b"{}")

    def do_HEAD(self) -> None:
        found = self.server.whole.get(self.key)
        if found is None:
            self._answer(404)
        else:
            self._answer(200, length=found[0], headers={"ETag": '"counted"', **found[1]})

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        digest, left = hashlib.md5(usedforsecurity=False), size
        while left and (block := self.rfile.read(min(BLOCK, left))):
            digest.update(block)
            left -= len(block)
        if left or base64.b64encode(digest.digest()).decode() != self.headers["Content-MD5"]:
            self._answer(400, b"<Error><Code>BadDigest</Code></Error>")
            return
        query = parse_qs(urlsplit(self.path).query)
        with self.server.lock:
            if "uploadId" in query:
                self.server.parts[self.key][0][int(query["partNumber"][0])] = size
            else:
                self.server.whole[self.key] = (size, self._metadata())
        self._answer(200, headers={"ETag": '"counted"'})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.server.lock:
            if "uploads" in parse_qs(urlsplit(self.path).query, keep_blank_values=True):
                self.server.parts[self.key] = ({}, self._metadata())
                body = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            else:
                sizes, metadata = self.server.parts.pop(self.key)
                self.server.whole[self.key] = (sum(sizes.values()), metadata)
                body = b"<CompleteMultipartUploadResult><ETag>counted</ETag></CompleteMultipartUploadResult>"
        self._answer(200, body)

    def do_DELETE(self) -> None:
        self.server.whole.pop(self.key, None)
        self._answer(204)

    def _metadata(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}

    def _file(self) -> None:
        size = self.server.file.stat().st_size
        span = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", self.headers.get("Range", ""))
        start, end = (int(span[1]), int(span[2] or size - 1)) if span else (0, size - 1)
        headers = {"ETag": '"content"', "Accept-Ranges": "bytes"}
        if span:
            headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        self._answer(206 if span else 200, length=end - start + 1, headers=headers)
        with self.server.file.open("rb") as file:
            at = start
            while at <= end:
                at += os.sendfile(self.connection.fileno(), file.fileno(), at, min(BLOCK, end + 1 - at))

    def _answer(
        self, status: int, body: bytes = b"", *, length: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    server = Objects(Path(sys.argv[1]))
    print(f"ready on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
