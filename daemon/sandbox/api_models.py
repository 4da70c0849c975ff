"""Account, models, versions, hardware and the webhook secret."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from . import answers
from .api_predictions import json_body
from .catalog import HARDWARE, OWNER, Model, Version
from .paging import page
from .platform import Platform
from .schemas import openapi_schema

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$")
_NEW_MODEL = ("owner", "name", "visibility", "hardware")


class ModelsApi:
    def __init__(self, platform: Platform) -> None:
        self._p = platform

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/account", self.account),
            web.get("/v1/hardware", self.hardware),
            web.get("/v1/webhooks/default/secret", self.secret),
            web.get("/v1/models", self.listing),
            web.post("/v1/models", self.create),
            web.get("/v1/models/{owner}/{name}", self.get),
            web.get("/v1/models/{owner}/{name}/versions", self.versions),
            web.get("/v1/models/{owner}/{name}/versions/{version}", self.version),
        ]

    async def account(self, _request: web.Request) -> web.Response:
        shown = {
            "type": "organization",
            "username": OWNER,
            "name": "Acme Corp, Inc.",
            "github_url": "https://github.com/acme",
        }
        return self._p.answer(shown)

    async def hardware(self, _request: web.Request) -> web.Response:
        return self._p.answer([{"sku": sku, "name": name} for sku, name in HARDWARE.items()])

    async def secret(self, request: web.Request) -> web.Response:
        if self._p.hits(request, "secret_error_next"):
            raise answers.Problem(500, detail="An internal error occurred", status=500)
        return self._p.answer({"key": self._p.secrets.current})

    async def listing(self, request: web.Request) -> web.Response:
        return self._page(request, list(self._p.catalog.models.values()), _model_position, self._show_model)

    async def create(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        if not isinstance(body, dict):
            raise answers.invalid_request("invalid_type", "(root)", "Invalid type. Expected: object")
        missing = [name for name in _NEW_MODEL if not isinstance(body.get(name), str)]
        if missing:
            raise answers.invalid_request("required", "(root)", f"{missing[0]} is required")
        owner, name, visibility, hardware = (body[key] for key in _NEW_MODEL)
        if owner != OWNER:
            raise answers.not_found()
        if not _NAME.match(name) or visibility not in {"public", "private"} or hardware not in HARDWARE:
            raise answers.invalid_request("enum", "(root)", "name, visibility or hardware is not valid")
        model = Model(owner=owner, name=name, visibility=visibility, description=body.get("description") or "")
        if model.full_name in self._p.catalog.models:
            raise answers.Problem(409, detail="A model with that name and owner already exists", status=409)
        self._p.catalog.models[model.full_name] = model
        return self._p.answer(self._show_model(model), created=True, status=201)

    async def get(self, request: web.Request) -> web.Response:
        return self._p.answer(self._show_model(self._model(request)))

    async def versions(self, request: web.Request) -> web.Response:
        return self._page(request, self._model(request).versions, _version_position, show_version)

    async def version(self, request: web.Request) -> web.Response:
        wanted = request.match_info["version"]
        for version in self._model(request).versions:
            if version.id == wanted:
                return self._p.answer(show_version(version))
        raise answers.not_found()

    def _model(self, request: web.Request) -> Model:
        model = self._p.catalog.models.get("{owner}/{name}".format(**request.match_info))
        if model is None:
            raise answers.not_found()
        return model

    def _page(self, request: web.Request, items: list[Any], position: Any, show: Any) -> web.Response:
        ordered = sorted(items, key=position, reverse=True)
        size, cursor = self._p.faults.page_size, request.query.get("cursor")
        result = page(ordered, position, size=size, cursor=cursor, url=self._p.url + request.path)
        return self._p.answer(result | {"results": [show(item) for item in result["results"]]})

    def _show_model(self, model: Model) -> dict[str, Any]:
        latest = max(model.versions, key=_version_position, default=None)
        runs = [record for record in self._p.predictions.values() if record.model == model.full_name]
        example = next((record for record in reversed(runs) if record.status == "succeeded"), None)
        return {
            "url": f"https://replicate.com/{model.full_name}",
            "owner": model.owner,
            "name": model.name,
            "description": model.description,
            "visibility": model.visibility,
            "is_official": model.official,
            "github_url": None,
            "paper_url": None,
            "license_url": None,
            "run_count": len(runs),
            "cover_image_url": None,
            "default_example": None if example is None else self._p.show.render(example, "read", self._p.clock()),
            "latest_version": None if latest is None else show_version(latest),
        }


def show_version(version: Version) -> dict[str, Any]:
    return {
        "id": version.id,
        "created_at": version.created_at,
        "cog_version": "0.14.0",
        "openapi_schema": openapi_schema(version.schema),
    }


def _version_position(version: Version) -> str:
    return f"{version.created_at} {version.id}"


def _model_position(model: Model) -> str:
    return model.full_name
