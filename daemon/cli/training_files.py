"""SimpleTuner's files on this machine: ``config.json``, and the two that it names, which the daemon cannot read.

SimpleTuner reads the paths in them from its own folder, and its configurations lie in ``config/`` or one below. So they
are looked for from the current folder, from the configuration's own, and from those above it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .exits import Usage

_LEVELS = 3  # folders from the configuration upwards: config/NAME/config.json lies two below SimpleTuner's


def read_json(path: Path) -> Any:
    """The JSON value of a file; ``Usage`` where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise Usage(f"{path}: cannot be read: {problem.strerror or problem}") from None
    except ValueError as problem:
        raise Usage(f"{path}: cannot be read as JSON: {problem}") from None


def read_training(path: Path, *, with_data: bool) -> tuple[Any, Any]:
    """``(configuration, dataloader configuration or None)``: what is named in the first stands in them.

    ``with_data=False``: the data is given otherwise, and what the configuration names is not looked at.
    """
    config = read_json(path)
    if not isinstance(config, dict):
        return config, None  # the daemon says what is wrong with it
    bases = [Path.cwd(), *list(path.absolute().parents)[:_LEVELS]]
    dataloader = None
    for key, value in list(config.items()):
        if not isinstance(value, str) or not value.strip():
            continue
        match key.lstrip("-"):
            case "lycoris_config":
                config[key] = read_json(_find(value, bases, path, key)[0])
            case "data_backend_config" if with_data:
                found, base = _find(value, bases, path, key)
                dataloader = _with_whole_paths(read_json(found), base)
    return config, dataloader


def _find(named: str, bases: list[Path], config: Path, key: str) -> tuple[Path, Path]:
    """``(the file, the folder that its name is good from)``; ``Usage`` where it is nowhere."""
    wanted = Path(named).expanduser()
    for base in bases:
        if (base / wanted).is_file():
            return base / wanted, base
    places = "" if wanted.is_absolute() else f" (looked for in {', '.join(map(str, dict.fromkeys(bases)))})"
    raise Usage(f"{config} names {named!r} in {key}, and there is no such file{places}.")


def _with_whole_paths(dataloader: Any, base: Path) -> Any:
    """Folders of local data as absolute paths: the daemon has no current folder of ours."""
    for backend in dataloader if isinstance(dataloader, list) else [dataloader]:
        folder = backend.get("instance_data_dir") if isinstance(backend, dict) else None
        if isinstance(folder, str) and folder and "://" not in folder and backend.get("type", "local") == "local":
            backend["instance_data_dir"] = str(base / Path(folder).expanduser())
    return dataloader
