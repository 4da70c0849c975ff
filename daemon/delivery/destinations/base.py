"""What a destination is: a module in this package with a frozen ``Options`` struct, ``publish`` and ``check``.

A new file works in configuration, API, command line, page and metrics by being here. The struct says what people call
it (``TITLE``) and its fields carry their documentation (``msgspec.Meta``: title, description;
``extra_json_schema=SECRET`` where it is write-only).

``publish(package, options, place) -> url`` puts a package where the user wants it and says where that is. It raises
``Retry`` or ``Permanent``; it may be called again after any crash and must then find out what is there already. It
streams (a model has gigabytes) and reports to ``place`` how far it is, mostly through a ``Counter``.

``check(options, place) -> [sentence]`` tries whether a delivery could be put there, leaves nothing behind, and says
what it has tried. It raises as ``publish`` does. Both block: they are called in a thread.
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import msgspec

from ...config import Settings
from ...core import templates
from ...core.options import OptionInvalid, OptionType
from ...store.records import DestinationConfig
from ..errors import Permanent, Retry


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
    config_name: str | None = None
    hardware: str | None = None
    metadata: Mapping[str, Any] = {}  # the submit's
    input: Mapping[str, Any] = {}  # what the model was given, secrets redacted; empty where we did not submit it

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def rendered(self, template: str) -> str:
        """``template`` for this job; ``Permanent`` where it cannot be."""
        values = templates.values(
            job_id=self.job_id,
            provider_job_id=self.provider_job_id,
            config_name=self.config_name,
            model=self.model,
            version=self.version,
            completed_at=self.completed_at,
        )
        try:
            return templates.render(template, values)
        except templates.TemplateInvalid as problem:
            raise Permanent(f"the template {template!r}: {problem}") from None


def _no_report(_done: int, _total: int | None) -> None:
    """For callers that do not show progress."""


class Place(msgspec.Struct, frozen=True):
    """What a destination may use of the daemon."""

    settings: Settings
    report: Callable[[int, int | None], None] = _no_report  # (bytes done, of how many), from any thread
    stopping: threading.Event = msgspec.field(default_factory=threading.Event)  # whoever asked has gone

    @property
    def output_dir(self) -> Path:
        return self.settings.output_dir

    def check_stopping(self) -> None:
        """For loops in threads, which nobody can cancel: ``Retry`` once the delivery was given up."""
        if self.stopping.is_set():
            raise Retry("interrupted")


class Counter:
    """Bytes of all files, sent by many threads, as progress of ``place``: never more than ``total``."""

    def __init__(self, total: int, place: Place) -> None:
        self._total = total
        self._place = place
        self._lock = threading.Lock()
        self._done = 0

    def add(self, size: int) -> None:
        with self._lock:
            self._done = min(self._done + size, self._total)  # a library that sends a part again counts it again
            self._place.report(self._done, self._total)

    def finish(self) -> None:
        self.add(self._total)


class Destination(Protocol):
    """A module of this package."""

    Options: type[msgspec.Struct]

    def publish(self, package: Package, options: Any, place: Place) -> str: ...
    def check(self, options: Any, place: Place) -> list[str]: ...


def types() -> dict[str, OptionType]:
    """Every type of destination there is, by name."""
    from . import __path__ as folders  # noqa: PLC0415 - read when asked for: the package may have been given more

    names = sorted({found.name for found in pkgutil.iter_modules(folders)} - {"base"})
    return {name: OptionType(name, _module(name).Options) for name in names}


def find(config: DestinationConfig, secrets: Mapping[str, str]) -> tuple[Destination, Any]:
    """A configured destination and its options, ``secrets`` among them; ``Permanent`` where there is no such thing."""
    known = types()
    if config.type not in known:
        raise Permanent(
            f"destination {config.name!r}: there is no type {config.type!r}, only {', '.join(sorted(known))}"
        )
    kind = known[config.type]
    try:
        options = kind.options(**kind.read({**config.options, **secrets}))
    except OptionInvalid as problem:
        raise Permanent(f"destination {config.name!r}: its options are not valid: {problem}") from None
    return cast("Destination", _module(config.type)), options


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".{name}", __package__)
