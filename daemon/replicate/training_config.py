"""SimpleTuner's training configuration (``config.json``) as it is sent: without what belongs to the user's machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigInvalid
from .dataset.dataloader import local_paths

# Where things are on the user's machine; the trainer sets its own, and packs its result from there.
_LOCAL_KEYS = frozenset({"output_dir", "data_backend_config", "logging_dir", "webhook_config"})


def training_config(config: Any, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """``(configuration, LyCORIS configuration or None)``: the predictor takes the latter as an input of its own.

    Keys stand with or without ``--`` and are sent as they are. ``settings`` fill in what the configuration leaves open.
    Raises ``ConfigInvalid``.
    """
    if not isinstance(config, dict) or not config:
        raise ConfigInvalid("`config` must be an object with SimpleTuner's settings.", field="config")
    sent = {key: value for key, value in config.items() if key.lstrip("-") not in _LOCAL_KEYS}
    lycoris = _lycoris(sent)
    bare = {key.lstrip("-") for key in sent}
    dashes = "--" if any(key.startswith("--") for key in sent) else ""
    sent |= {f"{dashes}{key}": value for key, value in settings.items() if key not in bare}
    for key in local_paths([sent, lycoris], prose=True):
        raise ConfigInvalid(
            f"`config` names a path on this machine in {key}; the trainer cannot read it. Name a Hugging Face "
            "repository or URL instead, or leave it out.",
            field="config",
        )
    return sent, lycoris


def _lycoris(sent: dict[str, Any]) -> dict[str, Any] | None:
    """Take the LyCORIS configuration out of ``sent``. A path in its place is no use to the trainer."""
    wanted = any(key.lstrip("-") == "lora_type" and value == "lycoris" for key, value in sent.items())
    found = {key: sent.pop(key) for key in list(sent) if key.lstrip("-") == "lycoris_config"}
    value = next(iter(found.values()), None)
    if isinstance(value, dict):
        return value
    if wanted and value is not None:
        raise ConfigInvalid(
            "`config` names a file in lycoris_config, which the trainer does not have. Put its content there instead; "
            "`tunerd submit --config` does so by itself.",
            field="config",
        )
    return None
