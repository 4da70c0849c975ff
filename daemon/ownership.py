"""Start-up check: nobody else's ``daemon`` package lies in this environment.

The package of another distribution (python-daemon) has the same name. Installed side by side, the files of the two are
mixed or one hides the other, and what breaks then breaks without a hint.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import Misconfigured

_OURS = "tunerd"


def check_ownership(search_path: Iterable[str] | None = None) -> None:
    """Raise ``Misconfigured`` naming the other distributions that own a ``daemon`` package.

    Looks for one line in the installed ``RECORD`` files: about 5 ms for a hundred distributions, where
    ``importlib.metadata.packages_distributions()`` parses every file of every one.
    """
    others = sorted({name for name in owners(sys.path if search_path is None else search_path) if name != _OURS})
    if others:
        raise Misconfigured(
            f"The package 'daemon' is also installed by {', '.join(others)}. Uninstall it, or install tunerd in a "
            "virtual environment of its own (python3 -m venv): the two cannot share one."
        )


def owners(search_path: Iterable[str]) -> Iterator[str]:
    """The normalised names of the distributions in ``search_path`` that brought a ``daemon`` package."""
    for folder in dict.fromkeys(search_path):
        for record in Path(folder or ".").glob("*.dist-info/RECORD"):
            try:
                content = b"\n" + record.read_bytes()
            except OSError:
                continue  # not readable for us: not importable either
            if b"\ndaemon/__init__.py," in content:
                name = record.parent.name.removesuffix(".dist-info").partition("-")[0]
                yield re.sub(r"[-_.]+", "-", name).lower()
