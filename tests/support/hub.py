"""A stub of the Hugging Face Hub: the calls that an upload makes, for the real ``huggingface_hub`` to talk to.

It keeps repositories, commits and LFS objects in memory. It is no Hub: there is no Xet behind it, no account and no web
page; what it refuses it refuses as the Hub does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from aiohttp import web

from tests.support.serving import serving

TOKEN = "hf_" + "x" * 34
ACCOUNT = "me"
REGULAR_BYTES = 1_000_000  # text files up to here are git's own, all else is LFS
PART_BYTES = 5 * 1024 * 1024  # of a multipart upload


@dataclass
class Repo:
    private: bool
    commits: list[dict[str, Any]] = field(default_factory=list)  # {"oid", "title", "files": {path: (lfs, content)}}

    def __post_init__(self) -> None:
        self.commit("initial commit", {".gitattributes": (False, b"*.bin filter=lfs\n")})

    @property
    def head(self) -> dict[str, Any]:
        return self.commits[-1]

    def commit(self, title: str, files: dict[str, tuple[bool, bytes]], text: str = "") -> str:
        before = self.commits[-1]["files"] if self.commits else {}
        oid = hashlib.sha1(f"{len(self.commits)} {title}".encode()).hexdigest()
        self.commits.append({"oid": oid, "title": title, "text": text, "files": {**before, **files}})
        return oid

    def files(self) -> dict[str, bytes]:
        return {name: content for name, (_, content) in self.head["files"].items()}


Fault = Callable[[web.Request], web.Response | None]


class Hub:
    """``faults``: each answers one request whose path holds its key, in turn; ``None`` lets that one pass."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # LFS, by SHA-256
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[str, list[Fault]] = {}
        self.lose: Callable[[web.Request], bool] = lambda _: False  # the answer, after it was done
        self.role = "write"
        self.url = ""

    def called(self, part: str) -> int:
        return sum(part in path for _, path in self.requests)

    # -- around every call -------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        for part, faults in self.faults.items():
            if part in request.path and faults:
                await request.read()
                answer = faults.pop(0)(request)
                if answer is not None:
                    return answer
        answer = await self._route(request)
        if self.lose(request):
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _route(self, request: web.Request) -> web.Response:
        stored = re.fullmatch(r"/objects/([0-9a-f]{64})(?:/([0-9]+))?", request.path)
        if stored:  # a pre-signed address: no token
            return await self._store(request, stored[1], stored[2])
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refused(401, "Invalid username or password.")
        for pattern, handler in self._routes:
            found = re.fullmatch(pattern, request.path)
            if found:
                return await handler(self, request, *found.groups())
        return refused(404, f"the stub has no {request.method} {request.path}")

    # -- the calls ---------------------------------------------------------------------------

    async def whoami(self, _request: web.Request) -> web.Response:
        access = {"accessToken": {"role": self.role, "displayName": "tests"}}
        return web.json_response({"type": "user", "name": ACCOUNT, "orgs": [{"name": "acme"}], "auth": access})

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        owner = body.get("organization") or ACCOUNT
        if owner not in {ACCOUNT, "acme"}:
            return refused(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        name = f"{owner}/{body['name']}"
        if name in self.repos:
            return refused(409, "You already created this model repo", url=f"{self.url}/{name}")
        self.repos[name] = Repo(private=body.get("visibility") == "private")
        return web.json_response({"url": f"{self.url}/{name}", "name": name, "id": name})

    async def validate(self, request: web.Request) -> web.Response:
        """As far as the Hub's check is known: front matter of valid YAML with fields of the right kinds."""
        errors = []
        content = (await request.json())["content"]
        front = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            found = yaml.safe_load(front[1]) if front else {}
            if not isinstance(found.get("license", ""), str) or not re.fullmatch(r"[a-z0-9.+-]*", found["license"]):
                errors.append('"license" must be one of its identifiers')
            if found["license"] == "other" and not found.get("license_name"):
                errors.append('"license_name" is required')
            if not all(isinstance(tag, str) for tag in found.get("tags", [])):
                errors.append('"tags" must be an array of strings')
            widget = [(one["text"], one["output"]["url"]) for one in found.get("widget", [])]
            if not all(isinstance(text, str) and isinstance(url, str) for text, url in widget):
                errors.append('"widget" must have text and output.url')
        except (yaml.YAMLError, KeyError, AttributeError, TypeError) as problem:
            errors.append(f"not valid: {problem}")
        found = {"errors": [{"message": error} for error in errors], "warnings": []}
        return web.json_response(found, status=400 if errors else 200)

    async def info(self, _request: web.Request, name: str) -> web.Response:
        repo = self.repos.get(name)
        if repo is None:
            return refused(404, "Repository not found", "RepoNotFound")
        return web.json_response({"id": name, "modelId": name, "sha": repo.head["oid"], "private": repo.private})

    async def paths(self, request: web.Request, name: str, revision: str) -> web.Response:
        body = await request.post() if "form" in request.content_type else await request.json()
        wanted = body.getall("paths") if hasattr(body, "getall") else body["paths"]
        commits = [one for one in self.repos[name].commits if one["oid"] == revision] or [self.repos[name].head]
        found = []
        for path in wanted:
            if path in commits[0]["files"]:
                lfs, content = commits[0]["files"][path]
                entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
                if lfs:
                    entry["lfs"] = {
                        "oid": hashlib.sha256(content).hexdigest(),
                        "size": len(content),
                        "pointerSize": 134,
                    }
                found.append(entry)
        return web.json_response(found)

    async def resolve(self, _request: web.Request, name: str, _revision: str, path: str) -> web.Response:
        files = self.repos[name].files()
        return web.Response(body=files[path]) if path in files else refused(404, "Entry not found", "EntryNotFound")

    async def preupload(self, request: web.Request, name: str) -> web.Response:
        there = self.repos[name].head["files"]
        answer = []
        for file in (await request.json())["files"]:
            sample = base64.b64decode(file["sample"])
            lfs = file["size"] > REGULAR_BYTES or b"\0" in sample or file["path"].endswith(".safetensors")
            oid = None
            if file["path"] in there:
                lfs_there, content = there[file["path"]]
                oid = hashlib.sha256(content).hexdigest() if lfs_there else git_hash(content)
            mode = "lfs" if lfs else "regular"
            answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return web.json_response({"files": answer})

    async def batch(self, request: web.Request, _name: str) -> web.Response:
        objects = []
        for one in (await request.json())["objects"]:
            entry = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.objects:
                upload: dict[str, Any] = {"href": f"{self.url}/objects/{one['oid']}"}
                if one["size"] > PART_BYTES:
                    parts = -(-one["size"] // PART_BYTES)
                    numbers = {f"{n:05}": f"{self.url}/objects/{one['oid']}/{n}" for n in range(1, parts + 1)}
                    upload["header"] = {"chunk_size": str(PART_BYTES), **numbers}
                verify = {"href": f"{self.url}/{_name}.git/info/lfs/verify"}
                entry["actions"] = {"upload": upload, "verify": verify}
            objects.append(entry)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def _store(self, request: web.Request, oid: str, part: str | None) -> web.Response:
        if request.method == "POST":  # the parts are all there
            parts = self.parts.pop(oid)
            body = b"".join(parts[one["partNumber"]] for one in (await request.json())["parts"])
        else:
            body = await request.read()
            if part is not None:
                self.parts.setdefault(oid, {})[int(part)] = body
                return web.Response(headers={"ETag": f'"{part}"'})
        if hashlib.sha256(body).hexdigest() != oid:
            return refused(400, "the content is not what was announced")
        self.objects[oid] = body
        return web.json_response({})

    async def verify(self, request: web.Request, _name: str) -> web.Response:
        body = await request.json()
        if len(self.objects.get(body["oid"], b"")) != body["size"]:
            return refused(400, "the object is not there")
        return web.json_response({})

    async def commit(self, request: web.Request, name: str) -> web.Response:
        repo, files, header = self.repos[name], {}, {}
        for line in (await request.read()).splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                header = value
            elif entry["key"] == "file":
                files[value["path"]] = (False, base64.b64decode(value["content"]))
            else:
                files[value["path"]] = (True, self.objects[value["oid"]])
        if header.get("parentCommit") not in {None, repo.head["oid"]}:
            return refused(412, "A commit has happened since. Please refresh and try again.")
        oid = repo.commit(header["summary"], files, header["description"])
        return web.json_response({"commitUrl": f"{self.url}/{name}/commit/{oid}", "commitOid": oid})

    async def xet(self, _request: web.Request, _name: str) -> web.Response:
        return refused(503, "Xet is not here")

    _routes = (
        (r"/api/whoami-v2", whoami),
        (r"/api/repos/create", create),
        (r"/api/validate-yaml", validate),
        (r"/api/models/([^/]+/[^/]+)/revision/main", info),
        (r"/api/models/([^/]+/[^/]+)", info),
        (r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)", paths),
        (r"/api/models/([^/]+/[^/]+)/preupload/main", preupload),
        (r"/api/models/([^/]+/[^/]+)/commit/main", commit),
        (r"/api/models/([^/]+/[^/]+)/xet-write-token/main", xet),
        (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", batch),
        (r"/([^/]+/[^/]+)\.git/info/lfs/verify", verify),
        (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", resolve),
    )


def refused(status: int, message: str, code: str = "", **more: str) -> web.Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return web.json_response({"error": message, **more}, status=status, headers=headers)


def status(code: int, **headers: str) -> Fault:
    def fault(_request: web.Request) -> web.Response:
        answer = refused(code, "as told")
        answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return answer

    return fault


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.asynccontextmanager
async def running_hub() -> AsyncIterator[Hub]:
    hub = Hub()
    async with serving(hub.handle) as hub.url:
        yield hub
    await asyncio.sleep(0)
