"""The HTML pages: one file a page, each with its routes in ``ENDPOINTS``."""

from __future__ import annotations

from . import job, jobs, login, static
from .rendering import set_up

GROUPS = (jobs, job, login, static)

__all__ = ["GROUPS", "set_up"]
