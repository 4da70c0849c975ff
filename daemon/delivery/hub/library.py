"""``huggingface_hub``, imported when first needed and made quiet, with time limits. Blocks: belongs in a thread."""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, Any

from ... import garbage
from ...core import retry_after
from .. import judging
from ..errors import Permanent, Retry
from ..judging import answered, file_gone, one_line

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

    garbage.keep_loaded()

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


def judged(what: str) -> AbstractContextManager[None]:
    """What goes wrong inside becomes an outcome of the delivery that names ``what``."""
    return judging.judged(what, _outcome)


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
            return Unanswered(f"{what}: no answer from the Hub: {one_line(cause) or 'the connection failed'}")
        if isinstance(cause, FileNotFoundError):
            return file_gone(what)
        if isinstance(cause, json.JSONDecodeError):  # a page of some proxy in its place
            return Retry(f"{what}: what answered is not the Hub, or is out of order")
        if isinstance(cause, ValueError):  # the model card was refused, or a name
            return Permanent(f"{what}: {one_line(cause)}")
        cause = cause.__cause__ or cause.__context__
    text = one_line(problem)
    if isinstance(problem, (OSError, RuntimeError)):  # Xet's errors are of these, too
        return Retry(f"{what}: {text}")
    return problem


def _answered(problem: Any, what: str) -> Retry | Permanent:
    answer = problem.response
    status = 0 if answer is None else int(answer.status_code)
    text = answered(what, f"the Hub answered {status}", _ADVICE.get(status), problem.server_message)
    if status in {409, 412}:
        return Moved(text)
    if status == 429:
        return Retry(text, after=_seconds(answer.headers) or RATE_LIMIT_SECONDS)
    if status >= 500 or status in {0, 408, 425}:
        return Retry(text, after=_seconds(answer.headers) if answer is not None else None)
    return Permanent(text)


def _seconds(headers: Any) -> float | None:
    """``Retry-After``, else the Hub's own ``RateLimit: "api";r=0;t=55``."""
    given = retry_after.seconds(headers.get("retry-after", ""))
    if given is not None:
        return given
    fields = dict(part.strip().partition("=")[::2] for part in headers.get("ratelimit", "").split(";"))
    return retry_after.seconds(fields.get("t", ""))
