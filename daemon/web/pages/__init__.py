"""The HTML pages: one file a page, each with its routes in ``ENDPOINTS``."""

from __future__ import annotations

from . import compare, docs, job, jobs, login, static
from .rendering import set_up

GROUPS = (jobs, job, compare, docs, login, static)

__all__ = ["GROUPS", "set_up"]
