"""A submit as a user writes it: its fields, what is wrong with them, and the create call it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from .. import parsing
from ..core.hub_names import hub_repo
from ..core.versions import split_version
from ..errors import ConfigInvalid, InvalidRequest, WebhookUrlInvalid
from ..store.effective import EffectiveSettings
from .dataset.dataloader import Data, read_dataloader
from .outgoing import Outgoing, canonical, webhook_with_job
from .training_config import training_config

_KEY_CHARS = 255


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /api/cloud/jobs/submit``.

    One of ``config`` (SimpleTuner's; keys with or without ``--``), ``config_name`` (a saved one), ``dataloader_config``
    or ``model`` + ``input``. ``destination`` (owner/name) makes it a training. Shapes of the open fields are checked
    here and not by the decoder: a wrong one is ``config_invalid``.
    """

    config: Any = None  # object
    dataloader_config: Any = None  # list of objects
    config_name: str | None = None  # of a saved configuration; a label where a configuration comes along
    model: str | None = None
    input: Any = None  # object
    version: str | None = None
    hardware: str | None = None
    webhook_url: str | None = None
    hub_model_id: str | None = None
    destination: str | None = None
    destinations: list[str] | None = None
    metadata: dict[str, Any] | None = None
    idempotency_key: str | None = None
    dry_run: bool = False

    def digest_source(self) -> bytes:
        """The same bytes for the same order, whatever its key: what an idempotency key is bound to."""
        return canonical(msgspec.structs.replace(self, idempotency_key=None, dry_run=False))


def plan(request: SubmitRequest, effective: EffectiveSettings, saved: Mapping[str, Any], job_id: str) -> Outgoing:
    """The create call. ``saved``: name → ``{"config",…}``. Raises the submit's 400 errors; touches no file."""
    request = _with_saved(request, saved)
    given, data = _input(request)
    model, version = _model(request, effective)
    return Outgoing(
        kind="training" if request.destination is not None else "prediction",
        model=model,
        version=version,
        destination=None if request.destination is None else _owner_name(request.destination, "destination"),
        input=given,
        webhook=webhook_with_job(_webhook_base(request, effective), job_id),
        datasets=data.datasets,
        notes=data.notes,
    )


def one_key(header: str | None, field: str | None) -> str | None:
    """The idempotency key, given as a header or in the body."""
    if header is not None and field is not None and header != field:
        raise InvalidRequest("The Idempotency-Key header and `idempotency_key` differ.", field="idempotency_key")
    key = field if header is None else header
    if key is not None and not (0 < len(key) <= _KEY_CHARS and key.isprintable()):
        raise InvalidRequest(f"An idempotency key has 1 to {_KEY_CHARS} printable characters.", field="idempotency_key")
    return key


def _with_saved(request: SubmitRequest, saved: Mapping[str, Any]) -> SubmitRequest:
    if request.config_name is None or request.config is not None or request.dataloader_config is not None:
        return request
    if request.input is not None:
        return request  # a label
    found = saved.get(request.config_name)
    if not isinstance(found, dict):
        raise ConfigInvalid(
            f"There is no saved configuration {request.config_name!r}. GET /api/cloud/configs lists them.",
            field="config_name",
        )
    return msgspec.structs.replace(
        request, config=found.get("config"), dataloader_config=found.get("dataloader_config")
    )


def _input(request: SubmitRequest) -> tuple[dict[str, Any], Data]:
    """The model's input, and what its dataloader configuration comes to."""
    given = request.input
    hub_model_id = None
    if request.hub_model_id is not None:
        hub_model_id = _owner_name(request.hub_model_id, "hub_model_id", hub_repo)
    if given is not None and not isinstance(given, dict):
        raise ConfigInvalid("`input` must be an object.", field="input")
    if request.config is None and request.dataloader_config is None:
        if given is None or (request.model is None and request.version is None):
            raise ConfigInvalid(
                "Nothing to run: give `config` (or `config_name`), or `model` with `input`.", field="config"
            )
        return dict(given), Data()
    data = Data() if request.dataloader_config is None else read_dataloader(request.dataloader_config)
    built: dict[str, Any] = {}
    if request.config is not None:
        config, lycoris = training_config(request.config, data.settings)
        built["config_json"] = msgspec.json.encode(config).decode()
        if lycoris is not None:
            built["lycoris_config"] = msgspec.json.encode(lycoris).decode()
    if data.dataloader is not None:
        built["dataloader_json"] = msgspec.json.encode(data.dataloader).decode()
    if data.images is not None:
        built["images"] = data.images
    if request.dataloader_config is None and not (given or {}).get("images"):
        data = msgspec.structs.replace(data, notes=tuple(_unread(request.config)))
    twice = next((key for key in ("images", "dataloader_json") if (given or {}).get(key)), None)
    if twice is not None and request.dataloader_config is not None:
        raise ConfigInvalid(f"`input.{twice}` and `dataloader_config` both give data. Leave one out.", field="input")
    built.update(given or {})  # hf_token, max_train_steps, images, …
    # The trainer refuses this without a token; without one the job's result is left to our own destinations.
    if hub_model_id is not None and built.get("hf_token"):
        built.setdefault("hub_model_id", hub_model_id)
    return built, data


def _unread(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if key.lstrip("-") == "data_backend_config" and value:
            yield (
                f"{key}: the file that it names is not read by the daemon. Give its content in dataloader_config; "
                "`tunerd submit --config` does so by itself."
            )


def _model(request: SubmitRequest, effective: EffectiveSettings) -> tuple[str | None, str | None]:
    """``(owner/name, version id)``; either may be unknown, not both."""
    model = None
    version = request.version
    if request.model is not None:
        name, colon, in_model = request.model.partition(":")
        model = _owner_name(name, "model")
        if colon and version not in {None, in_model, request.model}:
            raise InvalidRequest("`model` and `version` name different versions.", field="version")
        version = version or in_model or None
    if version is None and model in {None, effective.model}:
        version = effective.version_override
    if version is not None:
        owner, id_ = _split_version(version)
        if owner is not None and request.model is not None and owner != model:
            raise InvalidRequest(f"`version` belongs to {owner}, not to {model}.", field="version")
        bare = request.version is not None and request.config is None and request.dataloader_config is None
        return owner or model or (None if bare and request.destination is None else effective.model), id_
    return model or effective.model, None


def _split_version(version: str) -> tuple[str | None, str]:
    try:
        return split_version(version)
    except ValueError as problem:
        raise InvalidRequest(f"{version!r} is not a version: {problem}.", field="version") from None


def _owner_name(value: str, field: str, read: Callable[[Any], str] = parsing.model) -> str:
    try:
        return read(value)
    except ValueError as problem:
        raise InvalidRequest(f"{field} {value!r}: {problem}.", field=field) from None


def _webhook_base(request: SubmitRequest, effective: EffectiveSettings) -> str | None:
    if request.webhook_url is None:
        return effective.webhook_url
    try:
        return parsing.webhook_url(request.webhook_url)
    except ValueError as problem:
        raise WebhookUrlInvalid(f"webhook_url: {problem}.", field="webhook_url") from None
