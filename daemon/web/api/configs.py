"""Saved configurations: what a submit's ``config_name`` takes."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from ... import keys
from ...errors import ConfigInvalid, DatasetEmpty, DatasetUnreadable, InvalidRequest, NotFound
from ...replicate.saved_configs import SavedConfig, SavedConfigs
from ..answers import json_answer, read_json
from ..endpoint import Answer, Endpoint


class ConfigView(msgspec.Struct):
    """One saved configuration."""

    name: str
    config: dict[str, Any]
    dataloader_config: list[dict[str, Any]] | None


class Configs(msgspec.Struct):
    configs: list[ConfigView]


class Forgotten(msgspec.Struct):
    success: bool


def saved_configs(request: web.Request) -> SavedConfigs:
    return SavedConfigs(request.app[keys.STORE].settings)


async def list_configs(request: web.Request) -> web.Response:
    found = await saved_configs(request).all()
    return json_answer(Configs([_view(name, one) for name, one in found.items()]))


async def get_config(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    return json_answer(_view(name, await saved_configs(request).get(name)))


async def put_config(request: web.Request) -> web.Response:
    name, given = request.match_info["name"], await read_json(request, SavedConfig)
    await saved_configs(request).put(name, given, now=request.app[keys.CLOCK]())
    return json_answer(_view(name, given))


async def delete_config(request: web.Request) -> web.Response:
    await saved_configs(request).delete(request.match_info["name"], now=request.app[keys.CLOCK]())
    return json_answer(Forgotten(success=True))


def _view(name: str, saved: SavedConfig) -> ConfigView:
    return ConfigView(name, saved.config, saved.dataloader_config)


_ONE = "/api/cloud/configs/{name}"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/cloud/configs",
        list_configs,
        "The saved configurations",
        {200: Answer("All of them, by name", Configs)},
    ),
    Endpoint(
        "GET",
        _ONE,
        get_config,
        "One saved configuration",
        {200: Answer("The configuration", ConfigView)},
        errors=(NotFound,),
    ),
    Endpoint(
        "PUT",
        _ONE,
        put_config,
        "Save a configuration under a name, for a submit's `config_name`",
        {200: Answer("Saved, in the place of an earlier one of that name", ConfigView)},
        body=SavedConfig,
        errors=(InvalidRequest, ConfigInvalid, DatasetEmpty, DatasetUnreadable),
    ),
    Endpoint(
        "DELETE",
        _ONE,
        delete_config,
        "Forget a saved configuration",
        {200: Answer("It is gone; jobs that were submitted with it stay", Forgotten)},
        errors=(NotFound,),
    ),
)
