"""Server-sent events: a reader of lines, and a follower that reconnects exactly where it was."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..connecting import explain_connection
from .client import Client
from .exits import ApiProblem, Unreachable

SILENCE = 60.0  # seconds without a byte, heartbeats included, after which the connection is taken for dead
FIRST_PAUSE = 0.2  # seconds before the first reconnect: a restart of the daemon takes about one
LONGEST_PAUSE = 5.0


class Message(NamedTuple):
    """One server-sent event; ``id`` is the last one seen, ``None`` before any."""

    id: str | None
    event: str
    data: str


class Reader:
    """Reads an event stream's lines. ``last_id`` is where it is: the server may tell it without an event, too."""

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id

    def messages(self, lines: Iterable[bytes]) -> Iterator[Message]:
        """Messages from ``lines``; comments and unknown fields are passed over."""
        event, data, new_id = "message", list[str](), self.last_id
        for raw in lines:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if not line:  # the end of one message; an id counts only once it is whole
                self.last_id = new_id
                if data:
                    yield Message(new_id, event, "\n".join(data))
                event, data = "message", []
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                event = value
            elif field == "id" and "\0" not in value:
                new_id = value


class Follower:
    """Iterates over a stream's messages for ever, across restarts of the daemon.

    Every connection after the first asks to continue after the last whole message. Only the first may fail
    (``Unreachable``); error answers other than 5xx always raise ``ApiProblem``.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        last_id: str | None = None,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._path = path
        self._query = query
        self._reader = Reader(last_id)
        self._on_lost = on_lost  # called once for each loss of connection

    def __iter__(self) -> Iterator[Message]:
        response: http.client.HTTPResponse | None = self._connect()  # the first failure is the caller's
        pause, lost = FIRST_PAUSE, False
        while True:
            if response is not None:
                try:
                    for message in self._messages(response):
                        pause, lost = FIRST_PAUSE, False
                        yield message
                    reason = "the stream was closed"
                except (OSError, http.client.HTTPException) as problem:
                    reason = explain_connection(problem)
                if not lost and self._on_lost is not None:
                    self._on_lost(reason)
                lost = True
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            response = self._reconnect()

    def _messages(self, response: http.client.HTTPResponse) -> Iterator[Message]:
        with response:
            yield from self._reader.messages(response)

    def _connect(self) -> http.client.HTTPResponse:
        headers = {} if self._reader.last_id is None else {"Last-Event-ID": self._reader.last_id}
        return self._client.stream(self._path, query=self._query, headers=headers, timeout=SILENCE)

    def _reconnect(self) -> http.client.HTTPResponse | None:
        try:
            return self._connect()
        except Unreachable:
            return None
        except ApiProblem as problem:
            if problem.status >= 500:  # draining or starting
                return None
            raise
