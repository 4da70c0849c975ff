"""The HTML pages: one file a page, each with its routes in ``ENDPOINTS``."""

from __future__ import annotations

from . import compare, job, jobs, login, static
from .rendering import set_up

GROUPS = (jobs, job, compare, login, static)

__all__ = ["GROUPS", "set_up"]
