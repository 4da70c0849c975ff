"""The files that pages need, held in memory, compressed once, and named with a digest so that browsers may keep them.

One digest of all files stands in the path, `/static/DIGEST/js/page.js`: a module that imports another by its relative
path names the digest along with it, so nothing is ever asked for twice.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath

import msgspec
from aiohttp import web

from ...errors import NotFound
from ..endpoint import Answer, Endpoint

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
_YEAR_SECONDS = 31_536_000


class Asset(msgspec.Struct, frozen=True):
    body: bytes
    compressed: bytes  # gzip: every browser takes it
    content_type: str


class Assets(msgspec.Struct, frozen=True):
    """Files by their path below ``static/``; ``digest`` changes with any of them."""

    files: dict[str, Asset]
    digest: str

    def path(self, name: str) -> str:
        """The address of a file, which changes with its content."""
        return f"/static/{self.digest}/{name}"


ASSETS: web.AppKey[Assets] = web.AppKey("assets")


@cache
def load() -> Assets:
    """Every file of the package's ``static`` folder, read once a process: a new file comes with a new daemon."""
    files, digest = {}, hashlib.sha256()
    for name, entry in sorted(_walk(resources.files("daemon.web").joinpath("static"), "")):
        body = entry.read_bytes()
        files[name] = Asset(body, gzip.compress(body, 9, mtime=0), _TYPES[PurePath(name).suffix])
        digest.update(f"{name} {len(body)}\n".encode() + body)
    return Assets(files, digest.hexdigest()[:16])


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif PurePath(entry.name).suffix in _TYPES:
            yield prefix + entry.name, entry


async def get_asset(request: web.Request) -> web.Response:
    assets = request.app[ASSETS]
    asset = assets.files.get(f"{request.match_info['folder']}/{request.match_info['name']}")
    if asset is None:
        raise NotFound("There is no such file.")
    etag = f'"{assets.digest}"'
    pinned = request.match_info["digest"] == assets.digest  # not, where a page outlives an update of the daemon
    headers = {
        "ETag": etag,
        "Vary": "Accept-Encoding",
        "Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable" if pinned else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    body = asset.body
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = asset.compressed
    return web.Response(body=body, content_type=asset.content_type, charset="utf-8", headers=headers)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/static/{digest}/{folder}/{name}",
        get_asset,
        "A file that pages need",
        {
            200: Answer(
                "The file",
                {"type": "string"},
                content="text/css",
                also=("text/javascript", "image/svg+xml", "text/plain"),
            ),
            304: Answer("Not changed", content=None),
        },
        errors=(NotFound,),
        public=True,
    ),
)
