"""What the doctor's checks look at where no daemon runs: its settings, its store, the same parts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ..checks.base import Surroundings
from ..config import Settings
from ..errors import Misconfigured, NotReady
from ..store.care.place import Place, known_revision
from ..store.migrate import REVISIONS
from ..store.store import Store


@asynccontextmanager
async def surroundings(settings: Settings) -> AsyncIterator[Surroundings]:
    """Changes nothing: a database that is not there, in use or of another revision is told, and left alone."""
    import aiohttp

    from .. import app
    from ..replicate.client import ReplicateClient
    from ..replicate.feeds import StatusFeed
    from ..replicate.preflight import Preflight
    from ..replicate.token import TokenSource
    from ..replicate.webhook_secret import WebhookSecrets
    from ..store.effective import EffectiveSettings

    async with AsyncExitStack() as stack:
        store, problem = await _open_store(stack, settings)
        effective = EffectiveSettings(settings, store.settings)
        await effective.load()
        session = await stack.enter_async_context(
            aiohttp.ClientSession(trust_env=True, timeout=app.CLIENT_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        )
        tokens = TokenSource(settings, store.secrets)
        client = ReplicateClient(session, tokens.get, settings.replicate_base_url)
        secrets = WebhookSecrets(settings.webhook_secret, client, tokens, store.secrets, now=time.time)
        yield Surroundings(
            settings=settings,
            effective=effective,
            store=store,
            client=client,
            tokens=tokens,
            webhook_secrets=secrets,
            session=session,
            status_feed=StatusFeed(session, settings.status_url, time.monotonic),
            preflight=Preflight(session, secrets, lambda: store.settings.daemon_id(time.time()), now=time.time),
            check_destination=app.destination_check(store, settings),
            now=time.time,
            running=False,
            database_problem=problem or None,
            database_absent=problem == "",
        )


async def _open_store(stack: AsyncExitStack, settings: Settings) -> tuple[Store, str | None]:
    """The store, or an empty one in its stead with the reason; an empty reason: there is none yet."""
    from ..app import credential

    try:
        place = Place.of(settings.database_url, settings.data_dir)
        if place.file is not None and not place.file.exists():
            problem = ""
        else:
            _refuse_other_revision(place)
            key = credential("tunerd.key")
            opened = Store.open(settings.database_url, settings.data_dir, secret_key=key)
            return await stack.enter_async_context(opened), None
    except (Misconfigured, NotReady) as told:
        problem = told.detail
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tunerd-doctor-")))
    return await stack.enter_async_context(Store.open(None, folder)), problem


def _refuse_other_revision(place: Place) -> None:
    with place.engine() as engine, engine.connect() as connection:
        revision = known_revision(connection, place.url)
    if revision != REVISIONS[-1]:
        raise Misconfigured(f"{place.shown} is at revision {revision}; the next start brings it to {REVISIONS[-1]}.")
