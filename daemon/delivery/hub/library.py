"""``huggingface_hub``, imported when first needed and made quiet, with time limits. Blocks: belongs in a thread."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import Permanent, Retry

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONNECT_SECONDS = 10.0
READ_SECONDS = 180.0  # of silence: a commit of large files takes the Hub a minute and more
RATE_LIMIT_SECONDS = 60.0  # where the Hub says 429 and not for how long

_ADVICE = {
    401: "the token is not valid, or there is none: set HF_TOKEN or the destination's token "
    "(https://huggingface.co/settings/tokens)",
    403: "the token may not write there: it needs write access to the repository's owner",
    404: "there is no such repository, or the token may not see it",
    410: "the repository is disabled",
    413: "a file is larger than the Hub takes",
}


@cache
def prepared() -> Any:
    """The module. Its client has no time limits of its own, and its log and bars would go to our standard error."""
    import httpx2  # noqa: PLC0415 - see the package's docstring
    import huggingface_hub  # noqa: PLC0415

    library: Any = huggingface_hub  # its modules do not say what they export

    def client() -> httpx2.Client:
        # With its hooks; it keeps to HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
        made: httpx2.Client = library.utils._http.default_client_factory()  # noqa: SLF001 - it is not exported
        made.timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        return made

    library.set_client_factory(client)
    library.utils.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return library


def make_api(endpoint: str | None, token: str | None) -> HfApi:
    """``None``: as the library finds it (``HF_ENDPOINT``, ``HF_TOKEN``, the token that its own login saved)."""
    api: HfApi = prepared().HfApi(endpoint=endpoint, token=token, library_name="tunerd")
    return api


class Moved(Retry):
    """The branch has got another commit since it was looked at."""


class Unanswered(Retry):
    """No answer came: it may have been done all the same."""


@contextlib.contextmanager
def judged(what: str) -> Iterator[None]:
    """What goes wrong inside becomes an outcome of the delivery that names ``what``."""
    try:
        yield
    except Exception as problem:  # noqa: BLE001 - each becomes an outcome, or is raised as it is
        raise _outcome(problem, what) from None


def _outcome(problem: BaseException, what: str) -> BaseException:
    import httpx2  # noqa: PLC0415 - loaded long since
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError  # noqa: PLC0415

    cause: BaseException | None = problem
    while cause is not None:  # uploads of files wrap what went wrong once or twice
        if isinstance(cause, (Retry, Permanent)):
            return cause
        if isinstance(cause, LocalTokenNotFoundError):
            return Permanent(f"{what}: {_ADVICE[401]}")
        if isinstance(cause, HfHubHTTPError):
            return _answered(cause, what)
        if isinstance(cause, httpx2.HTTPError):
            return Unanswered(f"{what}: no answer from the Hub: {_text(cause) or type(cause).__name__}")
        if isinstance(cause, FileNotFoundError):
            return Permanent(f"{what}: a fetched file is no longer in the staging folder; deliver again")
        if isinstance(cause, json.JSONDecodeError):  # a page of some proxy in its place
            return Retry(f"{what}: what answered is not the Hub, or is out of order")
        if isinstance(cause, ValueError):  # the model card was refused, or a name
            return Permanent(f"{what}: {_text(cause)}")
        cause = cause.__cause__ or cause.__context__
    text = _text(problem)
    if isinstance(problem, (OSError, RuntimeError)):  # Xet's errors are of these, too
        return Retry(f"{what}: {text}")
    return problem


def _text(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:500]


def _answered(problem: Any, what: str) -> Retry | Permanent:
    answer = problem.response
    status = 0 if answer is None else int(answer.status_code)
    said = " ".join(str(problem.server_message or "").split())[:300]
    text = f"{what}: the Hub answered {status}" + (f", {_ADVICE[status]}" if status in _ADVICE else "")
    text += f" ({said})" if said else ""
    if status in {409, 412}:
        return Moved(text)
    if status == 429:
        return Retry(text, after=_seconds(answer.headers) or RATE_LIMIT_SECONDS)
    if status >= 500 or status in {0, 408, 425}:
        return Retry(text, after=_seconds(answer.headers) if answer is not None else None)
    return Permanent(text)


def _seconds(headers: Any) -> float | None:
    """``Retry-After``, else the Hub's own ``RateLimit: "api";r=0;t=55``."""
    given = headers.get("retry-after", "")
    if given.isdecimal():
        return float(given)
    for part in headers.get("ratelimit", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "t" and value.isdecimal():
            return float(value)
    return None
