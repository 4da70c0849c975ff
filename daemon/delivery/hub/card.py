"""The model card: ``README.md`` with its metadata in front. The same text for the same job."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from ...core.hub_names import hub_repo
from ..destinations.base import Package
from .settings import training_settings

MADE = "<!-- tunerd: this file is written anew with each delivery; delete this line to keep your own text -->"
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
MAX_IMAGES = 8  # more make a page of pictures

# SimpleTuner's families → (base model, license, further license metadata).
_OTHER = "other"
_FAMILIES: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "flux": (
        "black-forest-labs/FLUX.1-dev",
        _OTHER,
        {
            "license_name": "flux-1-dev-non-commercial-license",
            "license_link": "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md",
        },
    ),
    "sdxl": ("stabilityai/stable-diffusion-xl-base-1.0", "openrail++", {}),
    "sd3": (
        "stabilityai/stable-diffusion-3.5-large",
        _OTHER,
        {
            "license_name": "stabilityai-ai-community",
            "license_link": "https://huggingface.co/stabilityai/stable-diffusion-3.5-large/blob/main/LICENSE.md",
        },
    ),
    "auraflow": ("fal/AuraFlow-v0.3", "apache-2.0", {}),
    "pixart_sigma": ("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", "openrail++", {}),
}
_VIDEO = frozenset({"wan", "ltxvideo", "hunyuan_video", "cogvideox"})


def model_card(package: Package, *, license_: str | None, base_model: str | None, tags: tuple[str, ...]) -> str:
    """``license_``, ``base_model`` and ``tags`` are the user's own; what is ``None`` is read off the training."""
    settings = training_settings(package.input)
    images = [file.name for file in package.files if PurePath(file.name).suffix.lower() in IMAGES][:MAX_IMAGES]
    metadata = _metadata(settings, images, license_, base_model, tags)
    lines = ["---", *(f"{key}: {_yaml(value)}" for key, value in metadata.items()), "---", "", MADE, ""]
    lines += [f"# {_line(_title(package))}", "", _provenance(package, metadata), ""]
    if prompt := metadata.get("instance_prompt"):
        lines += ["## Trigger", "", f"Use `{_line(prompt).replace('`', '')}` in the prompt.", ""]
    if images:
        lines += ["## Samples", "", "<Gallery />", ""]
        lines += [f"![{_line(name)}](<./{name}>)" for name in images] + [""]
    if settings:
        lines += ["## Training", "", "| setting | value |", "|---|---|"]
        lines += [f"| {_code(name)} | {_cell(value)} |" for name, value in settings.items()] + [""]
    if package.files:
        lines += ["## Files", "", "| file | bytes | SHA-256 |", "|---|---|---|"]
        lines += [f"| {_cell(file.name)} | {file.bytes} | `{file.sha256}` |" for file in package.files] + [""]
    return "\n".join(lines)


def _metadata(
    settings: Mapping[str, Any],
    images: list[str],
    license_: str | None,
    base_model: str | None,
    tags: tuple[str, ...],
) -> dict[str, Any]:
    family = str(settings.get("model_family", "")).lower()
    known = _FAMILIES.get(family)
    kind = str(settings.get("model_type", settings.get("lora_type", ""))).lower()
    base = base_model or _repo(settings.get("pretrained_model_name_or_path")) or (known[0] if known else None)
    found: dict[str, Any] = {"license": license_ or "unknown"}
    if license_ is None and known and base == known[0]:  # another base model has another license
        found = {"license": known[1], **known[2]}
    if base is not None:
        found["base_model"] = base
    if base is not None and "lora" in kind:
        found["base_model_relation"] = "adapter"
    found["tags"] = _tags(family, kind, tags)
    if family:
        found["library_name"] = "diffusers"
        found["pipeline_tag"] = "text-to-video" if family in _VIDEO else "text-to-image"
    for key in ("instance_prompt", "trigger_word"):
        if isinstance(settings.get(key), str):
            found["instance_prompt"] = settings[key]
            break
    if images:
        prompt = str(settings.get("validation_prompt") or found.get("instance_prompt") or "-")
        found["widget"] = [{"text": prompt, "output": {"url": name}} for name in images]
    return found


def _tags(family: str, kind: str, own: tuple[str, ...]) -> list[str]:
    made = [family, "lora" if "lora" in kind else "", "diffusers" if family else "", "replicate"]
    return list(dict.fromkeys(tag for tag in (*own, *made) if tag))


def _repo(value: Any) -> str | None:
    try:
        return hub_repo(value)
    except ValueError:
        return None


def _title(package: Package) -> str:
    return package.config_name or package.job_id


def _provenance(package: Package, metadata: Mapping[str, Any]) -> str:
    parts = ["Trained on [Replicate](https://replicate.com)"]
    if package.model:
        parts.append(f"with `{_line(package.model)}`")
    if base := metadata.get("base_model"):
        parts.append(f"from [{base}](https://huggingface.co/{base})")
    if package.completed_at is not None:
        parts.append(f"on {datetime.fromtimestamp(package.completed_at, UTC):%Y-%m-%d}")
    return " ".join(parts) + f". Job `{package.job_id}`."


def _yaml(value: Any) -> str:
    """JSON is YAML, where its texts hold no line breaks of Unicode's own."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _line(value) if isinstance(value, str) else value


def _line(text: str) -> str:
    """One line without control characters, lone surrogates and the like."""
    return re.sub(r"\s+", " ", "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)).strip()


def _code(name: str) -> str:
    """In a code span a backslash shows; only the column's end means something there."""
    return f"`{_line(name).replace('`', '').replace('|', '&#124;') or '?'}`"


def _cell(value: Any) -> str:
    text = _line(str(value))
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", text) if isinstance(value, str) else text
