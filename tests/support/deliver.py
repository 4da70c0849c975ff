"""Delivers what is due and ends: ``python -m tests.support.deliver FOLDER BASE_URL [SETTING=VALUE …]``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp

from daemon.delivery.retrying import Backoff
from daemon.delivery.workflow import DeliveryWorker
from daemon.store.records import Job
from daemon.store.store import Store
from tests.support.outputs import settings_for
from tests.support.waiting import until


async def main(folder: Path, base_url: str, *flags: str) -> None:
    settings = settings_for(folder, base_url, **dict(flag.split("=", 1) for flag in flags))

    async def fresh(_job: Job) -> bytes | None:
        return None

    async with (
        Store.open(settings.database_url, settings.data_dir) as store,
        aiohttp.ClientSession() as session,
        DeliveryWorker(settings, store, session, fresh, backoff=Backoff(0.05, 0.2)),
    ):
        await asyncio.sleep(0.2)
        await until(lambda: _nothing_due(store), seconds=90)


async def _nothing_due(store: Store) -> bool:
    return not await store.deliveries.active()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
