"""One HTTP attempt at Replicate's API, and every way it can fail, told apart by whether it may have had an effect.

The token is sent to the origin of the base URL only, never along a redirect (none is followed), and is never logged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp import hdrs
from yarl import URL

from .. import tracing
from ..core import lenient_json
from ..errors import ProviderError, ProviderUnavailable, TokenMissing, TunerdError
from ..metrics import Metrics
from ..parsing import origin_of
from .breaker import Breaker
from .failures import explain
from .reading import read_at_most
from .retry import clock_ahead, provider_words, retry_after

log = structlog.get_logger()

# A prediction carries its whole log; the webhook limit defaults to 32 MiB, so this leaves room. Bytes.
BODY_LIMIT = 64 * 1024 * 1024
# Seconds. Replicate's own client waits 5 to connect and 30 for an answer; a create can be slower than a read.
_CONNECT = 10.0
_READ = aiohttp.ClientTimeout(total=60, sock_connect=_CONNECT, sock_read=30)
_CREATE = aiohttp.ClientTimeout(total=90, sock_connect=_CONNECT, sock_read=60)
_UPLOAD = aiohttp.ClientTimeout(total=1800, sock_connect=_CONNECT, sock_read=120)
# A cache on the way tells of yesterday: of a job's status, and by its Date of what the time is (``clock_ahead``).
_HEADERS = {hdrs.ACCEPT: "application/json", hdrs.CACHE_CONTROL: "no-cache"}


class NotSent(ProviderUnavailable):
    """No connection came about: the request certainly had no effect."""


class Throttled(ProviderUnavailable):
    """429: the request had no effect; ``wait`` is what the answer says, in seconds."""

    def __init__(self, detail: str, wait: float | None) -> None:
        super().__init__(detail, retry_after=None if wait is None else math.ceil(wait))
        self.wait = wait


class Refused(ProviderError):
    """The API itself said no: the request certainly had no effect."""


class Ambiguous(ProviderUnavailable):
    """The answer was lost or was a 5xx: the request may have had its effect."""


class TooLarge(Ambiguous):
    """There is an answer, longer than is read: that of a job with a very long log."""


class Answer(msgspec.Struct, frozen=True):
    """A 2xx answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON; raises ``Ambiguous`` where it is not: an intermediary answered, not the API."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Ambiguous("Replicate's answer is not JSON. Check REPLICATE_BASE_URL and proxies.") from None


class Transport:
    """Sends single requests; ``session`` belongs to the caller. ``base_url`` is without ``/v1``."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token_source: Callable[[], Awaitable[str | None]],
        base_url: str,
        *,
        now: Callable[[], float],
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._session = session
        self._token_source = token_source
        self._base = base_url.rstrip("/")
        self._origin = origin_of(base_url)
        self._prefix = URL(self.url("")).path
        self._now = now
        self._breaker = Breaker(now)
        self.ahead = 0.0  # seconds that our clock is ahead of Replicate's, as the last answer told

    def url(self, path: str) -> str:
        """The absolute URL of an API path such as ``account``."""
        return f"{self._base}/v1/{path}"

    def same_origin(self, url: str) -> bool:
        """Whether the token may be sent to ``url``."""
        try:
            return origin_of(url) == self._origin
        except ValueError:
            return False

    async def send(
        self,
        method: str,
        url: str,
        *,
        data: bytes | aiohttp.FormData | None = None,
        params: Mapping[str, str] | None = None,
        urgent: bool = False,
    ) -> Answer:
        """One attempt. Raises ``TokenMissing``, ``ProviderError`` (refused), or a ``ProviderUnavailable`` subclass.

        ``urgent``: somebody waits for the answer, so it is tried also while Replicate answers nobody.
        """
        if not self.same_origin(url):
            raise ProviderError(f"Replicate named a URL on another origin ({URL(url).origin()}); it was not followed.")
        token = await self._token_source()
        if token is None:
            raise TokenMissing(
                "REPLICATE_API_TOKEN not set. Export it and restart, or save one with `tunerd token set`."
            )
        wait = self._breaker.wait()
        if wait and not urgent:
            raise NotSent(f"Replicate has not answered the last calls; the next goes out in {math.ceil(wait)} s.")
        try:
            target = URL(url, encoded=True)
        except ValueError:
            raise ProviderError("Replicate named a URL that cannot be read; it was not followed.") from None
        began, result, path = time.perf_counter(), "lost", target.path.removeprefix(self._prefix)
        try:
            with tracing.child(f"replicate {method}", kind="client", path=path):
                answer = await self._judged(method, target, token, data, params)
            result = "ok"
            return answer
        except TunerdError as problem:
            result = _result(problem)
            raise
        finally:
            self._metrics.api_call(path, result, time.perf_counter() - began)

    async def _judged(
        self, method: str, url: URL, token: str, data: bytes | aiohttp.FormData | None, params: Mapping[str, str] | None
    ) -> Answer:
        try:
            return await self._attempt(method, url, token, data, params)
        except aiohttp.InvalidURL:
            raise ProviderError("Replicate named a URL that cannot be read; it was not followed.") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as problem:
            self._failed(explain(problem))
            raise NotSent(f"Replicate could not be reached: {explain(problem)}") from problem
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            self._failed(explain(problem))
            raise Ambiguous(f"Replicate's answer was lost: {explain(problem)}") from problem
        finally:
            self._breaker.over()

    async def _attempt(
        self, method: str, url: URL, token: str, data: bytes | aiohttp.FormData | None, params: Mapping[str, str] | None
    ) -> Answer:
        is_json = isinstance(data, bytes)
        timeout = _READ if method == hdrs.METH_GET else _CREATE if is_json or data is None else _UPLOAD
        async with self._session.request(
            method,
            url.update_query(params) if params else url,
            data=data,
            headers=_HEADERS | ({hdrs.CONTENT_TYPE: "application/json"} if is_json else {}),
            allow_redirects=False,
            timeout=timeout,
            middlewares=(_Bearer(token),),
        ) as response:
            body = await read_at_most(response.content, BODY_LIMIT)
            if body is None:
                raise TooLarge(f"Replicate's answer is larger than {BODY_LIMIT // 2**20} MiB; it was not read further.")
            log.debug("replicate.answer", method=method, path=url.path, status=response.status, bytes=len(body))
            return self._judge(response, body)

    def _failed(self, reason: str) -> None:
        if self._breaker.failed():
            log.warning("replicate.not_answering", reason=reason)

    def _judge(self, response: aiohttp.ClientResponse, body: bytes) -> Answer:
        status = response.status
        self.ahead = clock_ahead(response.headers, self._now())
        if status < 500:
            self._breaker.answered()
        else:
            self._failed(f"it answers {status}")
        if 200 <= status < 300:
            return Answer(status, body)
        words = provider_words(status, body)
        if status == 429:
            wait = retry_after(response.headers, body, self._now())
            raise Throttled(f"Replicate limits the rate of requests: {words}", wait)
        if status >= 500 or status == 408:
            raise Ambiguous(f"Replicate answered {status}: {words}", provider_status=status, provider_detail=words)
        if 300 <= status < 400:
            words = "a redirect, which is not followed: the token would leave. Correct REPLICATE_BASE_URL"
        said = Refused if _is_from_the_api(status, body) else ProviderError
        raise said(f"Replicate answered {status}: {words}", provider_status=status, provider_detail=words)


def _is_from_the_api(status: int, body: bytes) -> bool:
    """Whether a refusal is the API's own word, which is a JSON object.

    A page is a proxy's, which may have let the request pass and kept the answer back. A conflict (409) may be one with
    our own request.
    """
    return 400 <= status < 500 and status != 409 and isinstance(lenient_json.value(body), dict)


def _result(problem: TunerdError) -> str:
    """One of ``metrics.API_RESULTS``."""
    match problem:
        case Throttled():
            return "throttled"
        case NotSent():
            return "unreachable"
        case Ambiguous():
            return "lost"
        case _ if problem.extra.get("provider_status") == 404:
            return "not_found"
        case _:
            return "refused"


class _Bearer:
    """Puts the token on after aiohttp has looked into ``~/.netrc``, which it refuses to combine with a header."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers[hdrs.AUTHORIZATION] = f"Bearer {self._token}"
        return await handler(request)
