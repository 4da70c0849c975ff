"""``tunerd trigger``: signed events for a receiver, without Replicate."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from . import output
from .client import DEFAULT_URL
from .environment import variable
from .exits import FAILED, OK, UNREACHABLE, Usage
from .options import Json
from .receiver_url import receiver_url
from .sign import Secret, keys_of, read_body
from .submit import read_inputs

if TYPE_CHECKING:
    import aiohttp

    from ..sandbox.scenarios import Answer

UNRECOGNIZED = b'{"hello":"this is no prediction"}'
SILENT_SCENARIOS = {"flood"}  # only their sum, and what went wrong, is worth reading


def trigger(
    event: Annotated[
        str | None, Parameter(help="start, logs, output, completed, failed, cancelled or unrecognized.")
    ] = None,
    /,
    *,
    url: Annotated[str | None, Parameter(help="The receiver; without a path the webhook path is added.")] = None,
    secret: Secret = None,
    scenario: Annotated[
        str | None, Parameter(help="A sequence of events instead of one; EVENT is what it is about.")
    ] = None,
    body: Annotated[
        str | None,
        Parameter(help="File whose bytes are sent as they are; - reads standard input.", allow_leading_hyphen=True),
    ] = None,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", help="path=value in the body, as in metrics.predict_time=3; repeatable."),
    ] = None,
    id_: Annotated[str | None, Parameter(name="--id", help="The prediction's id; default: a new one.")] = None,
    count: Annotated[int, Parameter(help="So many events, each with a webhook-id of its own.")] = 1,
    as_json: Json = False,
) -> int:
    """Send correctly signed webhook events to a receiver.

    Works offline: nothing but the receiver is contacted. Exits with 1 where an
    event was refused, and with 3 where nobody answered.

    Scenarios: full-run, duplicates, reordering, bad-signature, stale-timestamp,
    huge-logs, flood. Where one is meant to be refused, a refusal is a success.

    For example:

      tunerd trigger completed --url http://127.0.0.1:8080 --secret whsec_…
      tunerd trigger failed --set error="out of memory" --id ufawqhfynnddngldkgtslldrkq
      tunerd trigger --scenario duplicates --url https://tuner.example.com
    """
    text = (secret or variable("TUNERD_WEBHOOK_SECRET")).replace(",", " ").split()
    keys_of(text or None)  # says what is wrong with it
    overrides = read_inputs(tuple(set_ or ())) | ({} if id_ is None else {"id": id_})
    sender = _Sender(receiver_url(url or variable("TUNERD_URL") or DEFAULT_URL, "trigger"), text[0], overrides)
    if scenario is not None:
        if body is not None:
            raise Usage("trigger: --scenario makes its own bodies; leave --body out.")
        answers = sender.scenario(scenario.strip().lower().replace("_", "-").replace(" ", "-"), event)
    elif event is None and body is None:
        raise Usage("trigger: EVENT, --body FILE or --scenario NAME is needed.\nTry: tunerd trigger --help")
    else:
        answers = sender.events(event, None if body is None else read_body(body), max(1, count))
    return asyncio.run(_report(answers, sender.url, as_json=as_json, silent=scenario in SILENT_SCENARIOS))


class _Sender:
    """Makes the answers of one invocation."""

    def __init__(self, url: str, secret: str, overrides: dict[str, Any]) -> None:
        self.url, self._secret, self._overrides = url, secret, overrides
        self._rng = random.SystemRandom()

    async def scenario(self, name: str, event: str | None) -> AsyncIterator[Answer]:
        from ..sandbox.scenarios import KINDS, SCENARIOS

        if event not in {None, *KINDS}:
            raise Usage(f"trigger: there is no event {event!r} for a scenario; there are {', '.join(KINDS)}.")
        if name not in SCENARIOS:
            raise Usage(f"trigger: there is no scenario {name!r}; there are {', '.join(SCENARIOS)}.")
        async with self._session() as session:
            async for answer in SCENARIOS[name](
                session, self.url, self._secret, clock=time.time, rng=self._rng, overrides=self._overrides, kind=event
            ):
                yield answer

    async def events(self, kind: str | None, body: bytes | None, count: int) -> AsyncIterator[Answer]:
        from ..sandbox.scenarios import send_event

        prediction_id = None
        async with self._session() as session:
            for _ in range(count):
                content = self._body(kind, body, prediction_id)
                prediction_id = _id_of(content)  # further events belong to the same prediction
                yield await send_event(session, self.url, self._secret, content, clock=time.time, rng=self._rng)

    def _body(self, kind: str | None, given: bytes | None, prediction_id: str | None) -> bytes:
        from ..sandbox.encoders import encode
        from ..sandbox.samples import KINDS, make_event, set_path

        if given is None and kind == "unrecognized":
            given = UNRECOGNIZED
        try:
            if given is None:
                if kind not in KINDS:
                    raise Usage(f"trigger: there is no event {kind!r}; there are {', '.join(KINDS)}, unrecognized.")
                made = make_event(
                    kind, overrides=self._overrides, prediction_id=prediction_id, now=time.time(), rng=self._rng
                )
                return encode(made, "go")
            if not self._overrides:
                return given
            content = json.loads(given)
            for path, value in self._overrides.items():
                set_path(content, path, value)
            return encode(content, "go")
        except ValueError as problem:
            raise Usage(f"trigger: {problem}") from None

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        return aiohttp.ClientSession(trust_env=True)


def _id_of(body: bytes) -> str | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value.get("id") if isinstance(value, dict) and isinstance(value.get("id"), str) else None


async def _report(answers: AsyncIterator[Answer], url: str, *, as_json: bool, silent: bool) -> int:
    """Print each answer as it comes; the exit code for all of them."""
    statuses: Counter[int] = Counter()
    code = OK
    async for answer in answers:
        statuses[answer.status] += 1
        if as_json:
            output.print_json(_document(answer))
        elif not answer.ok:
            output.remark(f"{answer.label}: {_refusal(answer, url)}")
        elif not silent:
            print(output.clean(f"{answer.label}: {_told(answer)}  ({answer.seconds * 1000:.0f} ms)"), flush=True)
        if not answer.ok:
            code = UNREACHABLE if answer.status == 0 else FAILED
    if silent and not as_json:
        print(", ".join(f"{count} answered {status or 'nothing'}" for status, count in sorted(statuses.items())))
    return code


def _content(answer: Answer) -> Any:
    try:
        return json.loads(answer.text)
    except ValueError:
        return None


def _told(answer: Answer) -> str:
    content = _content(answer)
    if not isinstance(content, dict):
        return f"HTTP {answer.status}"
    words = [content.get(key) for key in ("status", "event", "job_id") if answer.status < 300]
    return " ".join([f"HTTP {answer.status}", *(str(word) for word in words or [content.get("code")] if word)])


def _refusal(answer: Answer, url: str) -> str:
    if answer.status == 0:
        return f"nobody answered at {url}: {answer.text}. Another address is given with --url."
    content = _content(answer)
    if answer.status < 300:
        return f"accepted with HTTP {answer.status}, although it had to be refused"
    if isinstance(content, dict) and content.get("code"):
        return f"refused with HTTP {answer.status}: {content.get('title')}: {content.get('detail')} [{content['code']}]"
    return f"refused with HTTP {answer.status}"


def _document(answer: Answer) -> dict[str, Any]:
    content = _content(answer)
    return {
        "label": answer.label,
        "webhook_id": answer.webhook_id,
        "status": answer.status,
        "expected": list(answer.expected),
        "ok": answer.ok,
        "answer": answer.text if content is None else content,
    }
