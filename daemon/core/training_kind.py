"""What kind of work a create call's input asks for, as far as its cost depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from . import lenient_json

# Families that the price table knows, by what their models' names hold.
_FAMILIES = ("flux", "sdxl", "stable-diffusion-xl")
_FAMILY_NAMES = {"stable-diffusion-xl": "sdxl"}
_FULL = "full"  # SimpleTuner's own default for --model_type
_LORA_HINTS = ("lora_type", "lora_rank", "lycoris_config", "init_lora")  # the third may be an input of its own
# Inputs in which models take their number of steps; the first one counts.
_STEPS = ("max_train_steps", "training_steps", "train_steps", "num_train_steps", "steps", "num_inference_steps")


class Training(msgspec.Struct, frozen=True):
    """A SimpleTuner training. ``family``: ``flux``, ``sdxl``, another's own name, or ``""`` where it is not named."""

    family: str
    full: bool  # all weights, not an adapter


class Work(msgspec.Struct, frozen=True):
    """What is asked for; ``training`` ``None``: any other model. ``steps`` ``None``: the input does not tell."""

    training: Training | None
    steps: int | None


def work_of(given: Mapping[str, Any]) -> Work:
    """Read off the model's input. Total: what cannot be read is not known."""
    config = _config(given.get("config_json"))
    if config is None:
        return Work(None, _first_steps(given))
    steps = _steps(given.get("max_train_steps"))  # the trainer lets it override the configuration's
    return Work(
        Training(_family(config), _is_full({**given, **config})),
        _steps(config.get("max_train_steps")) if steps is None else steps,
    )


def _config(text: Any) -> dict[str, Any] | None:
    """SimpleTuner's settings with plain keys: ``--lora-type`` is ``lora_type``."""
    if isinstance(text, str):
        text = lenient_json.value(text)
    if not isinstance(text, dict):
        return None
    return {str(key).lstrip("-").replace("-", "_"): value for key, value in text.items()}


def _is_full(config: Mapping[str, Any]) -> bool:
    kind = config.get("model_type")
    if kind is None:
        return not any(config.get(hint) for hint in _LORA_HINTS)
    return str(kind).strip().lower() == _FULL


def _family(config: Mapping[str, Any]) -> str:
    named = config.get("model_family")
    if isinstance(named, str) and named.strip():
        return named.strip().lower()
    name = str(config.get("pretrained_model_name_or_path") or "").lower()
    found = next((family for family in _FAMILIES if family in name), "")
    return _FAMILY_NAMES.get(found, found)


def _first_steps(given: Mapping[str, Any]) -> int | None:
    found = (_steps(given.get(name)) for name in _STEPS)
    return next((steps for steps in found if steps is not None), None)


def _steps(value: Any) -> int | None:
    """A positive whole number, also as text; 0 is SimpleTuner's word for "count epochs instead"."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else None
