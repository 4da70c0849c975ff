"""A store's file into a ``Part``, in one go, continued where an earlier attempt ended. Blocks: belongs in a thread."""

from __future__ import annotations

import threading

from ..errors import Permanent, Retry
from ..hashing import Announced
from ..limits import MAX_BYTES, Room, Throttle
from ..staging import Part, State
from .reading import Body, Reader


def copy(reader: Reader, part: Part, throttle: Throttle, room: Room, stopping: threading.Event) -> None:
    """Raises ``Retry`` or ``Permanent``; what has come is kept."""
    start = part.prefix if part.continuable else 0
    with reader.open(start, throttle.block) as body:
        if body.start == 0 or not _continues(body, part):
            if body.start:
                part.restart()
                raise Retry("the file has changed meanwhile; starting over")
            part.restart()
            part.begin(State(part.state.url, [], body.etag, body.total, Announced()))
        room.check(part)
        at = body.start
        for block in body.blocks:
            if at + len(block) > MAX_BYTES:
                raise Permanent(f"refused: longer than {MAX_BYTES} bytes")
            part.write(at, memoryview(block))
            at += len(block)
            stopping.wait(throttle.spent(len(block)))
            if stopping.is_set():
                raise Retry("interrupted")
    if part.state.total not in {None, at}:
        raise Retry(f"the connection ended after {at} of {part.state.total} bytes")


def _continues(body: Body, part: Part) -> bool:
    return (body.start, body.etag, body.total) == (part.prefix, part.state.validator, part.state.total)
