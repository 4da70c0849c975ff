"""Exit codes that scripts rely on, and the failures that lead to them."""

from __future__ import annotations

from typing import Any

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
MISCONFIGURED = 78  # EX_CONFIG of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class CliError(Exception):
    """An expected end of a command: ``message`` goes to standard error, ``exit_code`` to the caller."""

    exit_code = FAILED

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Failed(CliError):
    """What was asked for did not happen."""


class Usage(CliError):
    """The command line makes no sense."""

    exit_code = USAGE


class BadEnvironment(CliError):
    """A variable that the client reads is not valid."""

    exit_code = MISCONFIGURED


class Unreachable(CliError):
    """The daemon does not answer. ``sent``: the request went out, so what it asks for may have been done."""

    exit_code = UNREACHABLE

    def __init__(self, url: str, reason: object, *, sent: bool = False) -> None:
        self.sent = sent
        super().__init__(
            f"The daemon cannot be reached at {url}: {reason}.\n"
            "Is it running (tunerd serve)? Another address is set with TUNERD_URL."
        )


class ApiProblem(CliError):
    """The daemon answered with an error; ``problem`` is its problem+json object."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        title = str(problem.get("title") or f"HTTP {status}")
        detail = str(problem.get("detail") or "")
        code = problem.get("code")
        super().__init__(title + (f": {detail}" if detail else "") + (f" [{code}]" if code else ""))
