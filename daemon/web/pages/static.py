"""The few files that pages need, held in memory and named with their digest, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import PurePath

import msgspec
from aiohttp import web

from ...errors import NotFound

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_YEAR_SECONDS = 31_536_000


class Asset(msgspec.Struct, frozen=True):
    body: bytes
    content_type: str
    digest: str


ASSETS: web.AppKey[dict[str, Asset]] = web.AppKey("assets")


def load() -> dict[str, Asset]:
    """Every file of the package's ``static`` folder by name."""
    found = {}
    for entry in resources.files("daemon.web").joinpath("static").iterdir():
        suffix = PurePath(entry.name).suffix
        if suffix in _TYPES:
            body = entry.read_bytes()
            found[entry.name] = Asset(body, _TYPES[suffix], hashlib.sha256(body).hexdigest()[:16])
    return found


def asset_path(assets: dict[str, Asset], name: str) -> str:
    """The address of a file, which changes with its content."""
    return f"/static/{name}?v={assets[name].digest}"


async def get_asset(request: web.Request) -> web.Response:
    asset = request.app[ASSETS].get(request.match_info["name"])
    if asset is None:
        raise NotFound("There is no such file.")
    etag = f'"{asset.digest}"'
    pinned = request.query.get("v") == asset.digest
    headers = {
        "ETag": etag,
        "Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable" if pinned else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, content_type=asset.content_type, charset="utf-8", headers=headers)
