"""The web page's login: a cookie instead of the bearer token, for whoever has shown that token once.

The cookie is random; kept is only its digest, keyed with the admin token. So a copy of the database opens nothing, and
another admin token ends every session at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from urllib.parse import quote

import structlog
from aiohttp import web

from .. import keys
from ..errors import CrossSite, RateLimited, Unauthorized
from ..store.sessions import Session
from .address import CLIENTS
from .rate import RateLimit

UNUSED_SECONDS = 14 * 24 * 3600  # a session that nobody uses for so long has ended
TOUCH_SECONDS = 60  # how exactly the last use is known: not every request writes
ATTEMPTS = 10  # logins that one address may try at once …
ATTEMPT_SECONDS = 15.0  # … and then one in this time
USER_AGENT_CHARS = 300
_COOKIE_BYTES = 32
# A browser takes __Host- from this very host over TLS only: no neighbour below the same domain can set one.
_PLAIN_COOKIE, _TLS_COOKIE = "tunerd", "__Host-tunerd"
_SAFE = frozenset({"GET", "HEAD"})

log = structlog.get_logger()

LOGIN_RATE: web.AppKey[RateLimit] = web.AppKey("login_rate")


def set_up(app: web.Application) -> None:
    """Call it when the application has its settings."""
    app[LOGIN_RATE] = RateLimit(1 / ATTEMPT_SECONDS, burst_seconds=ATTEMPTS * ATTEMPT_SECONDS)


async def current(request: web.Request) -> Session | None:
    """The session of the request's cookie; ``None``: it has none that is good."""
    digest = _digest_of(request)
    if digest is None:
        return None
    store, now = request.app[keys.STORE].sessions, request.app[keys.CLOCK]()
    session = await store.get(digest, now=now)
    if session is not None and now - session.last_used_at >= TOUCH_SECONDS:
        await store.touch(digest, now=now, expires_at=now + UNUSED_SECONDS)
    return session


async def admits(request: web.Request) -> bool:
    """Whether the cookie makes the request the admin's. Raises ``CrossSite`` for an order that no page of ours sent."""
    if "Authorization" in request.headers or await current(request) is None:
        return False
    # Every browser of this decade says where an order comes from; `refuse_cross_site` has read what it says.
    if request.method not in _SAFE and not {"Origin", "Sec-Fetch-Site"} & request.headers.keys():
        raise CrossSite("With the login's cookie an order needs an Origin header, as browsers send it.")
    return True


async def log_in(request: web.Request, token: str) -> web.Response:
    """A redirect to come with the new session's cookie. Raises ``RateLimited``, ``Unauthorized``."""
    client = request.app[CLIENTS].of(request)
    wait = request.app[LOGIN_RATE].excess(client.address, time.monotonic())
    if wait:
        seconds = int(wait) + 1
        raise RateLimited(f"Too many attempts. Try again in {seconds} s.", retry_after=seconds)
    wanted = request.app[keys.SETTINGS].admin_token
    if wanted is None:
        raise Unauthorized("No admin token is configured. Set TUNERD_ADMIN_TOKEN where tunerd runs, and start it anew.")
    if not hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), wanted.encode()):
        log.warning("login refused", client=client.text)
        raise Unauthorized("This is not the admin token. It is the value of TUNERD_ADMIN_TOKEN where tunerd runs.")
    now, cookie = request.app[keys.CLOCK](), secrets.token_urlsafe(_COOKIE_BYTES)
    await request.app[keys.STORE].sessions.add(
        Session(
            digest=_digest(wanted, cookie),
            created_at=now,
            expires_at=now + UNUSED_SECONDS,
            last_used_at=now,
            address=client.text,
            user_agent=request.headers.get("User-Agent", "")[:USER_AGENT_CHARS],
        )
    )
    log.info("logged in", client=client.text)
    answer = web.Response(status=303)
    tls = over_tls(request)
    answer.set_cookie(
        _TLS_COOKIE if tls else _PLAIN_COOKIE,
        cookie,
        max_age=365 * 24 * 3600,  # when it ends is decided here, by use
        httponly=True,
        samesite="Strict",
        secure=tls,
        path="/",
    )
    return answer


async def log_out(request: web.Request, answer: web.Response) -> None:
    """End the request's session, and let ``answer`` take the cookie back."""
    digest = _digest_of(request)
    if digest is not None:
        await request.app[keys.STORE].sessions.delete(digest)
    tls = over_tls(request)
    answer.del_cookie(_TLS_COOKIE if tls else _PLAIN_COOKIE, path="/", httponly=True, samesite="Strict", secure=tls)


def over_tls(request: web.Request) -> bool:
    """Whether the browser came by https: to us, or to a trusted proxy that says so."""
    return request.secure or request.app[CLIENTS].forwarded_proto(request) == "https"


def wants_page(request: web.Request) -> bool:
    """Whether somebody looks at a page with a browser, and not a program at the API."""
    return (
        request.method in _SAFE
        and "text/html" in request.headers.get("Accept", "")
        and not request.path.startswith(("/api/", "/static/"))
        and "HX-Request" not in request.headers
    )


def login_redirect(request: web.Request) -> web.Response:
    """To the login, and from there back to where the request wanted to go."""
    answer = web.Response(status=303, headers={"Cache-Control": "no-store"})
    answer.headers["Location"] = "/login" if request.path == "/" else f"/login?next={quote(request.path_qs, safe='')}"
    return answer


def _digest_of(request: web.Request) -> str | None:
    token = request.app[keys.SETTINGS].admin_token
    cookie = request.cookies.get(_TLS_COOKIE) or request.cookies.get(_PLAIN_COOKIE)
    return _digest(token, cookie) if token and cookie else None


def _digest(token: str, cookie: str) -> str:
    return hmac.digest(token.encode(), cookie.encode("utf-8", "backslashreplace"), hashlib.sha256).hex()
