"""One page of a browser, watched: every request it makes and every error it tells of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page, Request, expect

ARTIFACTS = Path(__file__).parents[2] / "test-artifacts"
# Nothing that talks to anybody by itself; tuner.test is this machine under a name that is not its own.
OPTIONS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP tuner.test 127.0.0.1",
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 860}
PATIENCE_MS = 20_000  # two cores, many processes
expect.set_options(timeout=PATIENCE_MS)
# The rules that people are kept out by. Minor ones are shown when a test fails, but fail none.
SERIOUS = {"serious", "critical"}
# A good message goes after 6 s (static/js/toasts.js), and a busy machine may look for it later than that.
_MESSAGES_STAY = """
const later = window.setTimeout.bind(window);
window.setTimeout = (work, ms, ...rest) => (ms === 6000 ? 0 : later(work, ms, ...rest));
"""
_RUN_AXE = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


class Watched:
    """``page`` is Playwright's; ``requests`` and ``errors`` fill by themselves."""

    def __init__(self, page: Page, origin: str, axe_source: str) -> None:
        self.page = page
        self.origin = origin
        self.requests: list[Request] = []
        self.errors: list[str] = []
        self.expected_errors: tuple[str, ...] = ()  # pieces of messages that the test brings about itself
        self._axe_source = axe_source
        page.on("request", self._note_request)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))

    def _note_request(self, request: Request) -> None:
        self.requests.append(request)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    async def goto(self, path: str) -> None:
        await self.page.goto(self.origin + path)

    async def until(self, expression: str) -> None:
        """Wait until ``expression`` holds. Playwright's own waiting needs eval, which the policy forbids."""
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not await self.page.evaluate(expression):
                await self.page.wait_for_timeout(100)

    async def shot(self, name: str, *, whole: bool = True) -> Path:
        """Keep a screenshot as a test artifact."""
        file = ARTIFACTS / f"{name}.png"
        await self.page.screenshot(path=file, full_page=whole)
        return file

    async def check_accessible(self) -> None:
        """axe-core finds nothing serious on the page as it is now, in light and in dark."""
        # The policy of our pages lets no script in, and that is right: axe comes in through the debugger.
        if not await self.page.evaluate("() => Boolean(window.axe)"):
            await self.page.evaluate(f"() => {{ {self._axe_source} }}")
        for scheme in ("light", "dark"):
            await self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found: list[dict[str, Any]] = await self.page.evaluate(_RUN_AXE)
            bad = [
                f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
                for one in found
                if one["impact"] in SERIOUS
            ]
            assert not bad, f"{self.page.url} in {scheme}: " + "\n".join(bad)
        await self.page.emulate_media(color_scheme="null")

    def check_quiet(self) -> None:
        """No request has left the origin, nothing was complained about."""
        there = urlsplit(self.origin)
        elsewhere = [
            request.url
            for request in self.requests
            if (urlsplit(request.url).scheme, urlsplit(request.url).netloc) != (there.scheme, there.netloc)
            and not request.url.startswith(("data:", "blob:"))
        ]
        assert not elsewhere
        unexpected = [text for text in self.errors if not any(piece in text for piece in self.expected_errors)]
        assert not unexpected, unexpected


@contextlib.asynccontextmanager
async def watched_page(browser: Browser, axe_source: str, origin: str, **options: Any) -> AsyncIterator[Watched]:
    """A page in a context of its own. ``options`` go to the context: ``viewport``, ``color_scheme``, …"""
    # Without motion: colours that are still on their way would be judged, and pictured, as they happen to be.
    shared = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "UTC", "reduced_motion": "reduce"}
    context = await browser.new_context(**{**shared, **options})
    context.set_default_timeout(PATIENCE_MS)
    await context.add_init_script(_MESSAGES_STAY)
    try:
        watched = Watched(await context.new_page(), origin, axe_source)
        yield watched
        watched.check_quiet()
    finally:
        await context.close()
