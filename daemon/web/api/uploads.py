"""A data set sent from the browser: a folder on the daemon's machine that a submit can name."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from ... import keys
from ...errors import BodyTooLarge, InvalidRequest, NotFound
from ..answers import API_BODY_BYTES, json_answer, query_int, query_text, read_body
from ..endpoint import Answer, Endpoint, Param
from ..uploads import MOST_BYTES, Uploads

UPLOADS: web.AppKey[Uploads] = web.AppKey("uploads")


class Begun(msgspec.Struct):
    """``path``: what `instance_data_dir` of a dataloader entry names."""

    upload_id: str
    path: str


class Written(msgspec.Struct):
    """``bytes``: the file's size now, which is the next slice's offset."""

    name: str
    bytes: int


class Removed(msgspec.Struct):
    success: bool


async def begin(request: web.Request) -> web.Response:
    upload_id, path = await asyncio.to_thread(request.app[UPLOADS].begin)
    return json_answer(Begun(upload_id, str(path)), status=201)


async def put_slice(request: web.Request) -> web.Response:
    name = query_text(request, "name")
    if name is None:
        raise InvalidRequest("name: the file's path within the folder is expected.", field="name")
    offset = query_int(request, "offset", 0, low=0, high=MOST_BYTES)
    content = await read_body(request)
    upload_id = request.match_info["upload_id"]
    size = await asyncio.to_thread(request.app[UPLOADS].write, upload_id, name, offset, content)
    return json_answer(Written(name, size))


async def remove(request: web.Request) -> web.Response:
    await asyncio.to_thread(request.app[UPLOADS].remove, request.match_info["upload_id"])
    return json_answer(Removed(success=True))


def set_up(app: web.Application) -> None:
    app[UPLOADS] = Uploads(app[keys.SETTINGS].data_dir / "uploads", app[keys.CLOCK])


_FILE = (
    Param("name", "The file's path within the folder, as in cats/one.png", {"type": "string", "minLength": 1}),
    Param("offset", "Where the slice begins; 0 begins the file", {"type": "integer", "minimum": 0}),
)

ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/cloud/uploads",
        begin,
        "Begin a folder that files are sent into",
        {201: Answer("An empty folder; a day after its last change it is removed", Begun)},
    ),
    Endpoint(
        "PUT",
        "/api/cloud/uploads/{upload_id}/file",
        put_slice,
        "Put a slice of a file into the folder",
        {200: Answer("How much of the file is there", Written)},
        body={"type": "string", "description": f"The bytes as they are, {API_BODY_BYTES >> 20} MiB at most."},
        body_content="application/octet-stream",
        params=_FILE,
        errors=(InvalidRequest, NotFound, BodyTooLarge),
    ),
    Endpoint(
        "DELETE",
        "/api/cloud/uploads/{upload_id}",
        remove,
        "Remove the folder",
        {200: Answer("It is gone", Removed)},
        errors=(NotFound,),
    ),
)
