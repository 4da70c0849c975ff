"""Why a connection failed, in words for people: no class name, no errno, no URL (which may be a credential)."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

CLOSED = "the connection was closed"
FAULT = "a fault in tunerd; the daemon's log has the details"  # for what nobody expected
_BY_NUMBER = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: CLOSED,
    errno.ECONNABORTED: CLOSED,
    errno.EPIPE: CLOSED,
    errno.EHOSTUNREACH: "no route leads there",
    errno.ENETUNREACH: "no route leads there",
}


def explain_connection(problem: BaseException, seconds: float | None = None) -> str:
    """One clause; ``seconds``: how long an answer was waited for. Total: what is unknown is "the connection failed"."""
    problem = _innermost(problem)
    if isinstance(problem, TimeoutError):
        return "no answer in time" if seconds is None else f"no answer within {seconds:g} s"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {problem.verify_message or problem.reason or 'it cannot be verified'}"
    if isinstance(problem, ssl.SSLError):
        return "what answers there does not speak TLS as it should"
    if isinstance(problem, socket.gaierror):
        return "the name does not resolve"
    if isinstance(problem, EOFError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return CLOSED
    if isinstance(problem, http.client.HTTPException):
        return "what answers there does not speak HTTP"
    if isinstance(problem, OSError):
        return _BY_NUMBER.get(problem.errno or 0) or problem.strerror or "the connection failed"
    return _of_aiohttp(problem) or "the connection failed"


def _innermost(problem: BaseException) -> BaseException:
    """aiohttp's errors hold what happened to them."""
    for name in ("certificate_error", "os_error"):
        inner = getattr(problem, name, None)
        if isinstance(inner, BaseException):
            return inner
    return problem


def _of_aiohttp(problem: BaseException) -> str | None:
    if not type(problem).__module__.startswith("aiohttp"):
        return None
    import aiohttp  # noqa: PLC0415 - it has raised this; a command that only asks the daemon does not load it

    if isinstance(problem, aiohttp.ClientHttpProxyError):
        return f"the proxy refused the connection ({problem.status})"
    if isinstance(problem, aiohttp.InvalidURL):
        return "the URL is not valid"
    if isinstance(problem, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return CLOSED
    return "what answers there does not speak HTTP" if isinstance(problem, aiohttp.ClientResponseError) else None
