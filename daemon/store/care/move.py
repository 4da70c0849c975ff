"""Copies everything from one store into another that is empty, in one transaction, and reads it back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from ...errors import Misconfigured
from ..migrate import current_revision, upgrade
from .place import Place, known_revision
from .tables import TableSum, compare, copy, data_tables, refuse_filled, sums


def move(source: Place, target: Place) -> Mapping[str, TableSum]:
    """The sums of what was copied. Both must have no daemon: what arrives meanwhile would stay behind.

    Raises ``DatabaseInUse``; ``Misconfigured`` where the target holds something; ``CopyDiffers``. A move that is
    killed leaves the target empty, and is begun again.
    """
    if source.url == target.url:
        raise Misconfigured(f"{target.shown} is the store that is in use already. Name another one.")
    _make_file(target)
    with (
        source.alone(),
        contextlib.nullcontext() if _same_folder(source, target) else target.alone(),
        source.engine() as here,
        here.connect() as reading,
        target.engine(writing=True) as there,
    ):
        revision = known_revision(reading, source.url)
        with there.begin() as writing:
            for table in data_tables(writing):
                refuse_filled(writing, table)
            if current_revision(writing, target.url) is None:
                upgrade(writing, revision)
            copied = copy(reading, writing)
        with there.connect() as again:
            compare(copied, sums(again), f"What is in {target.shown} now")
    return copied


def _make_file(place: Place) -> None:
    if place.file is None:
        return
    place.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(place.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _same_folder(one: Place, other: Place) -> bool:
    """Whether the lock of one is that of the other, too."""
    return None not in {one.file, other.file} and one.data_dir.resolve() == other.data_dir.resolve()
