"""The provider: its settings, its token, and what it says about both."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from aiohttp import web

from ... import keys, parsing
from ...errors import (
    InvalidRequest,
    InvalidSetting,
    NotFound,
    ProviderError,
    ProviderUnavailable,
    SettingPinned,
    TokenInvalidFormat,
    TokenMissing,
    TokenNotStored,
    UnknownSetting,
    WebhookUrlInvalid,
)
from ...replicate.token import validate
from ..answers import json_answer, query_text, read_json
from ..endpoint import Answer, Endpoint, Param

_SHOWN_ONLY = frozenset({"webhook_endpoint", "token", "pinned", "warnings"})  # in an answer, and no settings


class TokenView(msgspec.Struct):
    """``hint``: the token's last four characters, all that is ever shown of it."""

    configured: bool
    source: Literal["environment", "stored"] | None
    hint: str | None


class Provider(msgspec.Struct):
    id: str
    name: str
    configured: bool  # a token is there
    links: dict[str, str]


class Providers(msgspec.Struct):
    providers: list[Provider]


class ProviderSettings(msgspec.Struct):
    """The settings in force. ``pinned``: setting → environment, file or flag; those cannot be changed here."""

    webhook_url: str | None
    webhook_endpoint: str | None
    webhook_allowed_ips: list[str]
    webhook_ip_mode: Literal["off", "log-only", "enforce"]
    webhook_ip_scopes: list[str]
    webhook_require_signature: bool
    model: str
    version_override: str | None
    hardware: str
    cost_limit_enabled: bool
    cost_limit_amount: float
    cost_limit_period: Literal["daily", "weekly", "monthly"]
    cost_limit_action: Literal["warn", "block"]
    token: TokenView
    pinned: dict[str, Literal["environment", "file", "flag"]]
    warnings: list[str]


class SettingsBody(msgspec.Struct):
    """Any of the settings; what is left out stays, null goes back to the default.

    Documentation only: EffectiveSettings reads the values.
    """

    webhook_url: str | msgspec.UnsetType | None = msgspec.UNSET
    webhook_allowed_ips: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    webhook_ip_mode: Literal["off", "log-only", "enforce"] | msgspec.UnsetType | None = msgspec.UNSET
    webhook_ip_scopes: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    webhook_require_signature: bool | msgspec.UnsetType | None = msgspec.UNSET
    model: str | msgspec.UnsetType | None = msgspec.UNSET
    version_override: str | msgspec.UnsetType | None = msgspec.UNSET
    hardware: str | msgspec.UnsetType | None = msgspec.UNSET
    cost_limit_enabled: bool | msgspec.UnsetType | None = msgspec.UNSET
    cost_limit_amount: float | msgspec.UnsetType | None = msgspec.UNSET
    cost_limit_period: Literal["daily", "weekly", "monthly"] | msgspec.UnsetType | None = msgspec.UNSET
    cost_limit_action: Literal["warn", "block"] | msgspec.UnsetType | None = msgspec.UNSET


class Validation(msgspec.Struct, omit_defaults=True):
    """Whether Replicate takes the token; where it does not, ``error`` and what to do about it, ``fix``."""

    valid: bool
    error: str | None = None
    fix: str | None = None
    user_info: dict[str, str] | None = None
    token_source: Literal["environment", "stored"] | None = None


class TokenBody(msgspec.Struct, forbid_unknown_fields=True):
    api_token: str


class TokenSaved(msgspec.Struct, omit_defaults=True):
    """``valid`` is null where Replicate could not be asked."""

    success: bool
    valid: bool | None
    error: str | None = None
    fix: str | None = None


class Deleted(msgspec.Struct):
    success: bool


class WebhookTested(msgspec.Struct):
    """``ok``: a signed probe through the public URL reached this daemon; null: that cannot be told from here."""

    ok: bool | None
    detail: str


class Version(msgspec.Struct):
    id: str
    created_at: str | None
    full_version: str


class Versions(msgspec.Struct):
    """Newest first. ``current_version``: what a submit would use."""

    versions: list[Version]
    current_version: str | None


async def list_providers(request: web.Request) -> web.Response:
    configured = await request.app[keys.TOKENS].get() is not None
    base = "/api/cloud/providers/replicate"
    links = {"self": base, **{name: f"{base}/{name}" for name in ("config", "validate", "versions", "billing")}}
    return json_answer(Providers([Provider("replicate", "Replicate", configured, links)]))


async def get_settings(request: web.Request) -> web.Response:
    return json_answer(await settings_view(request))


async def put_settings(request: web.Request) -> web.Response:
    """Change some, all or nothing. Who sends back what GET shows, changed a little, need not take the rest out."""
    values = await read_json(request, dict[str, Any])
    shown = msgspec.to_builtins(await settings_view(request))
    for name in _SHOWN_ONLY & values.keys():
        if values[name] == shown[name]:  # another value is refused: it would not be taken over
            del values[name]
    await request.app[keys.EFFECTIVE].update(values, now=request.app[keys.CLOCK]())
    return json_answer(await settings_view(request))


async def settings_view(request: web.Request) -> ProviderSettings:
    """The settings in force."""
    effective = request.app[keys.EFFECTIVE]
    shown = {**effective.shown(), "token": await _token(request), "warnings": effective.warnings()}
    return msgspec.convert(shown, ProviderSettings)


async def _token(request: web.Request) -> TokenView:
    tokens = request.app[keys.TOKENS]
    source = await tokens.source()
    return TokenView(source is not None, source, await tokens.hint())


async def validate_token(request: web.Request) -> web.Response:
    app = request.app
    return json_answer(msgspec.convert(await validate(app[keys.TOKENS], app[keys.CLIENT]), Validation))


async def put_token(request: web.Request) -> web.Response:
    body = await read_json(request, TokenBody)
    app = request.app
    await app[keys.TOKENS].put(body.api_token, now=app[keys.CLOCK]())
    try:
        answer = await validate(app[keys.TOKENS], app[keys.CLIENT])
    except ProviderUnavailable as problem:
        return json_answer(TokenSaved(True, None, f"Saved, but not checked: {problem.detail}"))
    return json_answer(TokenSaved(True, answer["valid"], answer.get("error"), answer.get("fix")))


async def delete_token(request: web.Request) -> web.Response:
    await request.app[keys.TOKENS].delete()
    return json_answer(Deleted(True))


async def list_versions(request: web.Request) -> web.Response:
    effective = request.app[keys.EFFECTIVE]
    model = query_text(request, "model")
    try:
        model = effective.model if model is None else parsing.model(model)
    except ValueError as problem:
        raise InvalidRequest(f"model: {problem}.", field="model") from None
    try:
        found = msgspec.convert(await request.app[keys.CLIENT].versions(model), list[Version])
    except ProviderError as refused:
        if refused.extra.get("provider_status") == web.HTTPNotFound.status_code:
            raise NotFound(f"Replicate knows no model {model}, or it is private to another account.") from None
        raise
    override = effective.version_override if model == effective.model else None
    return json_answer(Versions(found, override or (found[0].id if found else None)))


async def test_webhook(request: web.Request) -> web.Response:
    base = request.app[keys.EFFECTIVE].webhook_url
    if base is None:
        return json_answer(WebhookTested(False, "No webhook URL is set."))
    try:
        doubt = await request.app[keys.PREFLIGHT].check(base, fresh=True)
    except WebhookUrlInvalid as refused:
        return json_answer(WebhookTested(False, refused.detail))
    if doubt is not None:
        return json_answer(WebhookTested(None, doubt))
    return json_answer(WebhookTested(True, f"A signed probe through {base} came back to this daemon."))


_BASE = "/api/cloud/providers/replicate"
_SETTINGS = {200: Answer("The settings in force", ProviderSettings)}
_PUT_ERRORS = (InvalidRequest, UnknownSetting, InvalidSetting, SettingPinned)

ENDPOINTS = (
    Endpoint("GET", "/api/cloud/providers", list_providers, "The providers", {200: Answer("All of them", Providers)}),
    Endpoint("GET", _BASE, get_settings, "The provider's settings", _SETTINGS),
    Endpoint("GET", f"{_BASE}/config", get_settings, "The provider's settings", _SETTINGS),
    Endpoint(
        "PUT", _BASE, put_settings, "Change settings, all or nothing", _SETTINGS, body=SettingsBody, errors=_PUT_ERRORS
    ),
    Endpoint(
        "PUT",
        f"{_BASE}/config",
        put_settings,
        "Change settings, all or nothing",
        _SETTINGS,
        body=SettingsBody,
        errors=_PUT_ERRORS,
    ),
    Endpoint(
        "GET",
        f"{_BASE}/validate",
        validate_token,
        "Whether Replicate takes the token",
        {200: Answer("Valid or not, and why not", Validation)},
        errors=(ProviderUnavailable,),
    ),
    Endpoint(
        "PUT",
        f"{_BASE}/token",
        put_token,
        "Save the API token, encrypted",
        {200: Answer("Saved", TokenSaved)},
        body=TokenBody,
        errors=(TokenInvalidFormat, SettingPinned),
    ),
    Endpoint(
        "DELETE",
        f"{_BASE}/token",
        delete_token,
        "Delete the saved token",
        {200: Answer("Deleted", Deleted)},
        errors=(TokenNotStored,),
    ),
    Endpoint(
        "POST",
        f"{_BASE}/webhook/test",
        test_webhook,
        "Whether the webhook URL leads here",
        {200: Answer("What a signed probe through the public URL found; no event is stored", WebhookTested)},
    ),
    Endpoint(
        "GET",
        f"{_BASE}/versions",
        list_versions,
        "The model's versions",
        {200: Answer("All of them", Versions)},
        params=(
            Param(
                "model",
                "owner/name; the configured one where left out",
                {"type": "string", "minLength": 1, "maxLength": 1000},
            ),
        ),
        errors=(InvalidRequest, NotFound, TokenMissing, ProviderError, ProviderUnavailable),
    ),
)
