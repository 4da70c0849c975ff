"""What the web page is made of, as the lock names it now: an environment may have been made before the lock changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def vendor_files() -> None:
    """The build hook's work, where it is not done."""
    if not hatch_build.is_current(ROOT):
        hatch_build.fetch(ROOT)
