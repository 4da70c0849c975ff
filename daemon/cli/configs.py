"""``tunerd configs``: the configurations that were saved under a name, on the page or through the API."""

from __future__ import annotations

import json
from typing import Annotated, Any

from cyclopts import Parameter

from . import output
from .client import Client, quoted
from .options import Json

PATH = "/api/cloud/configs"
_MOST_FOLDERS = 3  # that are named in the table


def configs(
    name: Annotated[str | None, Parameter(help="Show this one whole.")] = None,
    /,
    *,
    as_json: Json = False,
) -> int:
    """List the saved training configurations, or show one.

    They are saved on the page's Submit form or through the API. For example:

      tunerd configs
      tunerd configs "flux cats"
      tunerd submit --name "flux cats"
    """
    client = Client.from_environment()
    if name is not None:
        one = client.get(f"{PATH}/{quoted(name)}")
        print(json.dumps(one, indent=None if as_json else 2), flush=True)
        return 0
    answer = client.get(PATH)
    if as_json:
        output.print_json(answer)
        return 0
    if not answer["configs"]:
        print("No configurations. The page's Submit form saves one, or PUT /api/cloud/configs/NAME.")
        return 0
    output.table(
        ("name", "model", "steps", "data"),
        [
            (
                one["name"],
                _option(one["config"], "model_family", "model_type"),
                _option(one["config"], "max_train_steps", "num_train_epochs"),
                _folders(one.get("dataloader_config") or []),
            )
            for one in answer["configs"]
        ],
    )
    return 0


def _option(config: dict[str, Any], *names: str) -> Any:
    """The first that is there; keys of SimpleTuner's configurations come with and without ``--``."""
    return next((config[key] for name in names for key in (f"--{name}", name) if key in config), None)


def _folders(data: list[dict[str, Any]]) -> str:
    named = [str(entry.get("id") or entry.get("instance_data_dir") or "-") for entry in data]
    more = len(named) - _MOST_FOLDERS
    return ", ".join(named[:_MOST_FOLDERS]) + (f" and {more} more" if more > 0 else "")
