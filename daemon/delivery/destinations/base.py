"""What a destination is: a module here with a frozen ``Options`` struct and one ``publish``. Nothing is registered.

``publish(package, options, place) -> url`` puts a package where the user wants it and says where that is. It raises
``Retry`` or ``Permanent``; it may be called again after any crash and must then find out what is there already.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from ...store.records import DestinationConfig
from ..errors import Permanent


class StagedFile(msgspec.Struct, frozen=True):
    """A fetched file, whole and checked. It is shared by all destinations: read it, or link it, never change it."""

    name: str  # safe and unique in its package
    path: Path
    bytes: int
    sha256: str
    source_url: str  # shortened where it is a data: URI


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """What one job delivers."""

    job_id: str
    provider_job_id: str | None
    model: str | None
    version: str | None
    completed_at: float | None  # unix seconds
    files: tuple[StagedFile, ...]
    output: Any  # the decoded output; what there is to deliver where there are no files


class Place(msgspec.Struct, frozen=True):
    """What a destination may use of the daemon."""

    output_dir: Path
    in_thread: Callable[..., Awaitable[Any]]  # (function, *arguments): runs blocking work off the event loop


class Publish(Protocol):
    async def __call__(self, package: Package, options: Any, place: Place) -> str: ...


def find(config: DestinationConfig) -> tuple[Publish, Any]:
    """The ``publish`` of a configured destination, and its options; ``Permanent`` where there is no such thing."""
    known = {found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)])} - {"base"}
    if config.type not in known:
        raise Permanent(
            f"destination {config.name!r}: there is no type {config.type!r}, only {', '.join(sorted(known))}"
        )
    module = importlib.import_module(f".{config.type}", __package__)
    try:
        options = msgspec.convert(config.options, module.Options)
    except msgspec.ValidationError as problem:
        raise Permanent(f"destination {config.name!r}: its options are not valid: {problem}") from None
    return cast("Publish", module.publish), options
