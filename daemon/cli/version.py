"""``tunerd version``."""

from __future__ import annotations

import platform

from .main import installed_version
from .options import Json
from .output import print_json


def version(*, as_json: Json = False) -> int:
    """Print the version."""
    if as_json:
        print_json({"tunerd": installed_version(), "python": platform.python_version()})
    else:
        print(f"tunerd {installed_version()} (Python {platform.python_version()})")
    return 0
