"""The way to the first job, shown while there is none: each step, its state, and where it is done."""

from __future__ import annotations

import msgspec
from aiohttp import web

from ... import keys
from .live import Part
from .rendering import fragment


class Step(msgspec.Struct, frozen=True):
    """``why``: one sentence. ``done``: what is there already; none: it is to be done. ``path``: where."""

    title: str
    why: str
    done: str | None
    path: str
    link: str


async def guide(request: web.Request, jobs: int) -> Part:
    """Empty, and hidden, from the first job on."""
    context = {"steps": [] if jobs else await _steps(request)}
    return Part("guide", fragment(request, "parts/guide.html", context))


async def _steps(request: web.Request) -> list[Step]:
    app = request.app
    has_token = await app[keys.TOKENS].get() is not None
    webhook_url = app[keys.EFFECTIVE].webhook_url
    destinations = [one.name for one in await app[keys.STORE].settings.destinations()]
    return [
        Step(
            "Give the Replicate API token",
            "Jobs are submitted, checked and paid for with it.",
            "A token is there." if has_token else None,
            "/settings#token-title",
            "Change it" if has_token else "Enter it",
        ),
        Step(
            "Say where Replicate's webhooks reach tunerd",
            "With the public URL of your tunnel or proxy, progress comes at once; without it, by asking now and then.",
            f"They go to {webhook_url}." if webhook_url else None,
            "/settings#webhook-title",
            "Test it" if webhook_url else "Enter the URL",
        ),
        Step(
            "Choose where results go",
            "Replicate removes its outputs about an hour after the end, so each is fetched and kept.",
            f"They go to {', '.join(destinations)}." if destinations else None,
            "/publishing",
            "Add another" if destinations else "Choose",
        ),
        Step(
            "Submit the first job",
            "A training with your pictures, or a run of any model on Replicate; it then shows up here by itself.",
            None,
            "/submit",
            "Submit",
        ),
    ]
