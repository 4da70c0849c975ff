"""A small HTTP client of the daemon's API, on the standard library: importing aiohttp alone takes 0.3 s."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from ..connecting import explain_connection
from .environment import variable
from .exits import ApiProblem, BadEnvironment, Unreachable

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT = 30.0  # seconds for an ordinary answer; validate and versions wait for Replicate in between


class Answer(NamedTuple):
    """A whole answer of the daemon, status below 300."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the Host header says localhost."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """The daemon at ``url`` (``http://…``, ``https://…`` or ``unix:/path``).

    Every call raises ``Unreachable`` where nothing (or something else) answers, ``ApiProblem`` for an error answer.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._parts = urlsplit(self.url)
        if self._parts.scheme == "unix":
            valid = self._parts.path.startswith("/")
        else:
            valid = self._parts.scheme in {"http", "https"} and bool(self._parts.hostname) and _port_is_valid(self.url)
        if not valid:
            raise BadEnvironment(
                f"TUNERD_URL {url!r} is not valid: http://HOST:PORT, https://… or unix:/path expected."
            )
        if token is not None and not (token.isascii() and token.isprintable()):
            raise BadEnvironment("TUNERD_ADMIN_TOKEN is not valid: it holds characters that no HTTP header can carry.")

    @classmethod
    def from_environment(cls) -> Client:
        """The daemon that ``TUNERD_URL`` names, with ``TUNERD_ADMIN_TOKEN`` where set."""
        return cls(variable("TUNERD_URL") or DEFAULT_URL, variable("TUNERD_ADMIN_TOKEN") or None)

    def get(self, path: str, query: Mapping[str, Any] | None = None, **options: Any) -> Any:
        return self.call("GET", path, query=query, **options).json()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Answer:
        """One request with a JSON ``body`` (``None``: none) and its whole answer."""
        payload = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})} if payload is not None else dict(headers or {})
        response = self._send(method, path, query, payload, given, timeout)
        try:
            with response:
                answer = Answer(response.status, dict(response.headers.items()), response.read())
        except (OSError, http.client.HTTPException) as problem:
            raise Unreachable(self.url, explain_connection(problem, timeout), sent=True) from None
        self._check(answer)
        return answer

    def stream(
        self, path: str, *, query: Mapping[str, Any] | None, headers: Mapping[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        """An open answer to read line by line; ``timeout`` bounds the silence between two reads."""
        response = self._send("GET", path, query, None, {"Accept": "text/event-stream", **headers}, timeout)
        try:
            if response.status >= 300:
                with response:
                    self._check(Answer(response.status, dict(response.headers.items()), response.read()))
        except (OSError, http.client.HTTPException) as problem:
            raise Unreachable(self.url, explain_connection(problem, timeout)) from None
        return response

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        payload: bytes | None,
        headers: dict[str, str],
        timeout: float,
    ) -> http.client.HTTPResponse:
        wanted = {key: value for key, value in (query or {}).items() if value is not None}
        target = self._prefix() + path + ("?" + urlencode(wanted) if wanted else "")
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connection(timeout)
        connected = False
        try:
            connection.connect()
            connected = True
            connection.request(method, target, body=payload, headers={"Connection": "close", **headers})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            raise Unreachable(self.url, explain_connection(problem, timeout), sent=connected) from None
        except BaseException:
            connection.close()
            raise

    def _prefix(self) -> str:
        return "" if self._parts.scheme == "unix" else self._parts.path

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._parts.scheme == "unix":
            return _UnixConnection(self._parts.path, timeout)
        assert self._parts.hostname is not None  # checked when made
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname, self._parts.port, timeout=timeout)

    def _check(self, answer: Answer) -> None:
        if answer.status < 300:
            return
        try:
            problem = answer.json()
        except ValueError:
            problem = None
        if isinstance(problem, dict) and "code" in problem:
            raise ApiProblem(answer.status, problem)
        if answer.status in {502, 503, 504}:  # a proxy in front of a daemon that is down
            raise Unreachable(self.url, f"something in between answered HTTP {answer.status}", sent=True)
        raise ApiProblem(
            answer.status,
            {
                "title": f"{self.url} answered HTTP {answer.status}",
                "status": answer.status,
                "detail": "This is not an answer of tunerd. Check TUNERD_URL.",
            },
        )


def quoted(segment: str) -> str:
    """One path segment of an address, from text that a user typed."""
    return quote(segment, safe="")


def job_path(job_id: str, *rest: str) -> str:
    return "/".join(("/api/cloud/jobs", quoted(job_id), *rest))


def _port_is_valid(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
