"""A test of one destination, for whoever has just configured it: could a delivery be put there?"""

from __future__ import annotations

import asyncio

import structlog

from ..config import Settings
from ..connecting import FAULT
from ..core.options import Checked
from ..errors import NotReady
from ..store.records import DestinationConfig
from ..store.store import Store
from .destinations.base import Place, find, types
from .errors import Permanent, Retry

log = structlog.get_logger()

CHECK_SECONDS = 45.0  # somebody is waiting; a client gives up connecting after 10


async def destination_secrets(store: Store, config: DestinationConfig) -> dict[str, str]:
    """The stored secrets among a destination's options. Raises ``NotReady`` where they cannot be decrypted."""
    kind = types().get(config.type)
    found = {}
    for option in sorted(kind.secrets) if kind else ():
        value = await store.secrets.destination(config.name, option)
        if value is not None:
            found[option] = value
    return found


async def check_destination(config: DestinationConfig, store: Store, settings: Settings) -> Checked:
    """Total: whatever goes wrong is the answer."""
    place = Place(settings)
    try:
        destination, options = find(config, await destination_secrets(store, config))
        async with asyncio.timeout(CHECK_SECONDS):
            return Checked(True, await asyncio.to_thread(destination.check, options, place))
    except (Permanent, Retry, NotReady) as reason:
        return Checked(False, [], str(reason))
    except TimeoutError:
        return Checked(False, [], f"no answer within {CHECK_SECONDS:.0f} seconds")
    except OSError as problem:
        return Checked(False, [], f"{problem.strerror or problem}: {problem.filename}")
    except Exception:  # a fault of ours, or of a library: said, not hidden
        log.exception("destination_check_failed", destination=config.name)
        return Checked(False, [], FAULT)
    finally:
        place.stopping.set()
