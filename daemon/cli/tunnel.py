"""``tunerd tunnel``: a public address while developing, and the daemon told of it."""

from __future__ import annotations

import itertools
import signal
import time
from types import FrameType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from ..parsing import WEBHOOK_PATH
from . import output
from .client import Client
from .environment import whole
from .exits import ApiProblem, Failed, Unreachable, Usage
from .provider import BASE
from .tunnel_programs import PROGRAMS, Program, Tunnel

REACHED_SECONDS = 60.0  # until a new name is known everywhere and the tunnel passes requests on
LONGEST_PAUSE = 30.0  # seconds between two starts of a program that keeps dying
GOOD_SECONDS = 60.0  # a run that lasted so long was no failed start
_LOOK_SECONDS = 0.2
_UNFINISHED = ("pending", "uploading", "queued", "running")


def tunnel(
    program: Literal["ngrok", "cloudflared"],
    /,
    *,
    url: Annotated[str | None, Parameter(help="What it leads to; else the daemon at TUNERD_URL.")] = None,
) -> int:
    """Start a tunnel and set its public URL as the webhook URL.

    The program is started, and started again when it dies. Its public URL is read from it, stored in the daemon, and
    tried from outside. Ctrl-C ends it and puts the previous webhook URL back. A job keeps the webhook URL that it was
    submitted with: where that has changed since, the daemon learns of the job by asking the API.

    For example:

      tunerd tunnel cloudflared
      tunerd tunnel ngrok --url http://127.0.0.1:8080
    """
    client = Client.from_environment()
    session = _Session(client, PROGRAMS[program], _local(url or client.url))
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        session.run()
    except KeyboardInterrupt:
        print()
    finally:
        session.close()
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _local(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Usage(f"tunnel: {url!r} is no http:// address that a tunnel can lead to: name one with --url.")
    return url.rstrip("/")


class _Session:
    """The tunnel that runs, and what the daemon was told."""

    def __init__(self, client: Client, program: Program, local: str) -> None:
        self._client, self._program, self._local = client, program, local
        settings = client.get(BASE)
        if "webhook_url" in settings["pinned"]:
            raise Failed(_pinned(settings["pinned"]["webhook_url"]))
        self._previous: str | None = settings["webhook_url"]
        self._told: str | None = None
        self._tunnel: Tunnel | None = None

    def run(self) -> None:
        """Until Ctrl-C. Raises ``Failed`` where the first start already fails: that is not mended by another."""
        self._open()
        pauses = _pauses()
        while True:
            began = time.monotonic()
            while self._tunnel is not None and self._tunnel.running():
                time.sleep(_LOOK_SECONDS)
            if time.monotonic() - began > GOOD_SECONDS:
                pauses = _pauses()
            pause = next(pauses)
            last = self._tunnel.last_words(3) if self._tunnel is not None else ""
            output.remark(f"{self._program.name} exited; restarting in {pause:g} s.\n{last}".rstrip())
            time.sleep(pause)
            try:
                self._open()
            except Failed as problem:
                output.remark(problem.message)

    def _open(self) -> None:
        """Start the program, tell the daemon its URL, and try it."""
        if self._tunnel is not None:
            self._tunnel.stop()
        self._tunnel = Tunnel(self._program, self._local, whole())
        public = self._tunnel.url()
        if public != self._told:
            self._tell(public)
        else:
            print(f"{public} is back.", flush=True)
        problem = _unreached(self._tunnel, public)
        if problem is None:
            print(f"Webhooks reach the daemon at {public}{WEBHOOK_PATH}", flush=True)
        else:
            output.remark(f"{public}{WEBHOOK_PATH} does not lead to the daemon: {problem}")

    def _tell(self, public: str) -> None:
        before = self._told or self._previous
        unfinished = self._unfinished() if before else 0
        try:
            self._client.call("PUT", BASE, body={"webhook_url": public})
        except ApiProblem as problem:
            if problem.status == 409:
                raise Failed(_pinned("configuration")) from None
            raise
        self._told = public
        print(f"{public} leads to {self._local}; it is the webhook URL now.", flush=True)
        if unfinished and before != public:
            jobs = f"{unfinished} unfinished jobs keep" if unfinished > 1 else "1 unfinished job keeps"
            output.remark(
                f"The webhook URL was {before} until now. {jobs} the one of the submit: events that are sent there do "
                "not arrive. Nothing is lost: the daemon asks the API for them."
            )

    def _unfinished(self) -> int:
        totals = (self._client.get("/api/cloud/jobs", {"status": status, "limit": 1}) for status in _UNFINISHED)
        return sum(int(page["total"]) for page in totals)

    def close(self) -> None:
        """Stop the program and put the webhook URL back as it was, where it is still ours."""
        if self._tunnel is not None:
            self._tunnel.stop()
        if self._told is None:
            return
        try:
            if self._client.get(BASE)["webhook_url"] != self._told:
                output.remark("The tunnel is closed. The webhook URL was changed meanwhile and stays as it is.")
                return
            self._client.call("PUT", BASE, body={"webhook_url": self._previous})
        except (ApiProblem, Unreachable) as problem:
            output.remark(f"The tunnel is closed, and the webhook URL still points to it: {problem.message}")
            return
        output.remark(f"The tunnel is closed. The webhook URL is {self._previous or 'unset'} again, as it was before.")


def _pinned(where: Any) -> str:
    return (
        f"The webhook URL is pinned by the daemon's {where}, so a tunnel's cannot be set (409). "
        "Take TUNERD_WEBHOOK_URL (or webhook_url, --webhook-url) away there, and restart the daemon or reload it."
    )


def _pauses() -> Any:
    return (min(2.0**number, LONGEST_PAUSE) for number in itertools.count())


def _unreached(tunnel: Tunnel, public: str) -> str | None:
    """``None`` once an unsigned request through the tunnel comes to the daemon, which says so; else why it does not."""
    problem = "it was not tried"
    end = time.monotonic() + REACHED_SECONDS
    while time.monotonic() < end and tunnel.running():
        try:
            problem = _try_once(public)
        except Unreachable as failed:
            problem = failed.message.partition("\n")[0]
        if problem == "":
            return None
        time.sleep(1)
    return problem


def _try_once(public: str) -> str:
    """Empty where the daemon answered, else what was answered instead. Raises ``Unreachable``."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    request = Request(public + WEBHOOK_PATH, data=b"{}", headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310 - https, as the program says
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - as above; through the user's proxy, trusting his roots
            return f"HTTP {answer.status} was answered; an unsigned request should be refused"
    except HTTPError as refused:
        with refused:
            body = refused.read(1 << 16)
        if b'"signature_missing"' in body or b'"ip_not_allowed"' in body:
            return "" if b'"signature_missing"' in body else "the IP rule (webhook_allowed_ips) refused this machine"
        return f"HTTP {refused.code} was answered, not by tunerd"
    except URLError as problem:
        raise Unreachable(public, problem.reason) from None
    except OSError as problem:
        raise Unreachable(public, problem) from None
