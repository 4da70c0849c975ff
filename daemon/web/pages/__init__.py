"""The HTML pages: one file a page, each with its routes in ``ENDPOINTS``."""

from __future__ import annotations

from aiohttp import web

from . import (
    compare,
    docs,
    events,
    health,
    job,
    jobs,
    login,
    notifications,
    publishing,
    rendering,
    settings,
    static,
    submit,
)

GROUPS = (jobs, job, compare, submit, publishing, events, settings, notifications, health, docs, login, static)


def set_up(app: web.Application) -> None:
    """Call it when the application has its parts."""
    rendering.set_up(app)
    jobs.set_up(app)
    job.set_up(app)
