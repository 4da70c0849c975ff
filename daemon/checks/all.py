"""Every check, in the order in which they are shown."""

from __future__ import annotations

from . import account, machine, network, webhook, work
from .base import Health, Named, Surroundings, run_checks

CHECKS: tuple[Named, ...] = (*account.CHECKS, *webhook.CHECKS, *network.CHECKS, *work.CHECKS, *machine.CHECKS)


async def check_all(here: Surroundings) -> Health:
    return await run_checks(CHECKS, here)
