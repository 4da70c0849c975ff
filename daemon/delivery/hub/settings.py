"""What of a training may be shown to everyone: its settings without secrets, paths, addresses and texts of pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...replicate.dataset.dataloader import local_paths
from ...replicate.outgoing import REDACTED, redacted

MAX_TEXT = 200  # characters; longer ones are no settings
MAX_SETTINGS = 80
# About the user and their other services, or about where things are.
_PRIVATE = re.compile(
    r"tracker|project_name|run_name|webhook|push_to_hub|hub_|report_to|user|resume_from|_dir$|images?$|backend|config$|_json$"
)
_FILE = re.compile(r"[/\\].*\.[A-Za-z][A-Za-z0-9]{0,10}$")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|^data:|@", re.IGNORECASE)


def training_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Scalars of the configuration in ``given`` (a model's input): SimpleTuner's, else the input itself; bare keys."""
    config = given.get("config_json")
    if isinstance(config, str):
        try:
            config = msgspec.json.decode(config)
        except msgspec.DecodeError:
            config = None
    source = config if isinstance(config, dict) else given
    found = {}
    for key, value in sorted(source.items()):
        name = key.lstrip("-")
        if isinstance(value, (str, int, float, bool)) and _may_be_shown(name, value):
            found[name] = value
    return dict(list(found.items())[:MAX_SETTINGS])


def _may_be_shown(name: str, value: Any) -> bool:
    if _PRIVATE.search(name.lower()):
        return False
    clean = redacted({name: value})
    if clean != {name: value} or value == REDACTED:
        return False
    if not isinstance(value, str):
        return True
    if not value.strip() or len(value) > MAX_TEXT or _ADDRESS.search(value) or _FILE.search(value):
        return False
    return not list(local_paths({name: value}))
