"""The models that the simulated platform hosts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from .schemas import HELLO, IMAGE, SHAPES, SIMPLETUNER, TRAINER

OWNER = "acme"  # the account that the token belongs to
HARDWARE = {
    "cpu": "CPU",
    "gpu-t4": "Nvidia T4 GPU",
    "gpu-l40s": "Nvidia L40S GPU",
    "gpu-2x-l40s": "2x Nvidia L40S GPU",
    "gpu-a100-large": "Nvidia A100 (80GB) GPU",
    "gpu-h100": "Nvidia H100 GPU",
}


@dataclass(slots=True, kw_only=True)
class Version:
    id: str  # 64 hexadecimal digits
    created_at: str
    schema: dict[str, Any]  # of the input


@dataclass(slots=True, kw_only=True)
class Model:
    owner: str
    name: str
    description: str = ""
    visibility: str = "public"
    official: bool = False  # may be run by name, without a version
    behaviour: dict[str, Any] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)  # newest first

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    def add_version(self, created_at: str, schema: dict[str, Any]) -> Version:
        number = len(self.versions) + 1
        digest = hashlib.sha256(f"{self.full_name}#{number}".encode()).hexdigest()  # the same in every sandbox
        self.versions.insert(0, Version(id=digest, created_at=created_at, schema=schema))
        return self.versions[0]


class Catalog:
    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        for name, description, schema, behaviour, official in _HOSTED:
            owner, _, short = name.partition("/")
            model = Model(owner=owner, name=short, description=description, behaviour=behaviour, official=official)
            for month in ("2025-11", "2026-01"):
                model.add_version(f"{month}-05T10:00:00.123456Z", schema)
            self.models[name] = model
        destination = Model(owner=OWNER, name="my-lora", visibility="private", description="A training destination.")
        self.models[destination.full_name] = destination

    def find_version(self, version_id: str) -> tuple[Model, Version] | None:
        for model in self.models.values():
            for version in model.versions:
                if version.id == version_id:
                    return model, version
        return None

    def resolve(self, reference: str) -> tuple[Model, Version] | None:
        """What ``version`` names: 64 hex digits, ``owner/name:`` and them, or an official model's ``owner/name``."""
        if "/" not in reference:
            return self.find_version(reference)
        name, colon, version_id = reference.partition(":")
        model = self.models.get(name)
        if model is None or not model.versions:
            return None
        if not colon:
            return (model, model.versions[0]) if model.official else None
        return next(((model, version) for version in model.versions if version.id == version_id), None)


# name, description, input schema, behaviour, official
_HOSTED: tuple[tuple[str, str, dict[str, Any], dict[str, Any], bool], ...] = (
    ("simpletuner/advanced-trainer", "Trains LoRAs and full models with SimpleTuner.", SIMPLETUNER, {}, False),
    (
        "acme/trainer",
        "A trainer whose input chooses what happens.",
        TRAINER,
        {"open_input": True, "shape": "training"},
        True,
    ),
    (
        "acme/hello",
        "Says hello.",
        HELLO,
        {"shape": "text", "steps": 0, "run_seconds": 1.0, "queue_seconds": 0.1, "setup_seconds": 0.1},
        True,
    ),
    (
        "acme/image",
        "Draws two images.",
        IMAGE,
        {"shape": "list", "files": 2, "file_name": "out.png", "steps": 20, "run_seconds": 3.0, "file_bytes": 50_000},
        True,
    ),
    (
        "acme/shapes",
        "Gives back the output that it is given.",
        SHAPES,
        {"open_input": True, "steps": 2, "run_seconds": 1.0, "queue_seconds": 0.1, "setup_seconds": 0.1},
        True,
    ),
)
