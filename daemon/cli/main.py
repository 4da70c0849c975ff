"""The parser. A command, and the parser itself, is imported only when it runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from .. import garbage
from .exits import FAILED, INTERRUPTED, MISCONFIGURED, OK, ApiProblem, CliError, Usage

if TYPE_CHECKING:
    from cyclopts import App

_DAEMON, _JOBS, _EVENTS, _ACCOUNT = "The daemon", "Jobs", "Events and webhooks", "The provider's account"
_RESULTS, _DATA = "Results", "The data"

# name, where it is, its group, its one line: the first line of the function's own docstring, as a test checks.
COMMANDS = (
    ("serve", "serve:serve", _DAEMON, "Run the daemon: receiver, API, web page and delivery workers."),
    ("reload", "reload:reload", _DAEMON, "Have the daemon read its configuration again."),
    ("deploy", "deploy:deploy", _DAEMON, "Print configuration for nginx, Caddy, Traefik or systemd."),
    ("tunnel", "tunnel:tunnel", _DAEMON, "Start a tunnel and set its public URL as the webhook URL."),
    ("demo", "demo:demo", _DAEMON, "Show the whole loop: sandbox, daemon, one training, its file."),
    ("sandbox", "sandbox:sandbox", _DAEMON, "Run a simulated Replicate that a daemon can be pointed at."),
    ("doctor", "doctor:doctor", _DAEMON, "Check everything that can be wrong, and say what to do about it."),
    ("version", "version:version", _DAEMON, "Print the version."),
    ("submit", "submit:submit", _JOBS, "Submit a training, or a prediction of any Replicate model."),
    ("configs", "configs:configs", _JOBS, "List the saved training configurations, or show one."),
    ("jobs", "jobs:jobs", _JOBS, "List the jobs, newest first."),
    ("job", "jobs:job", _JOBS, "Show one job with its deliveries."),
    ("logs", "logs:logs", _JOBS, "Print a job's log."),
    ("wait", "wait:wait", _JOBS, "Follow a job until it has ended and its files are delivered."),
    ("cancel", "jobs:cancel", _JOBS, "Ask the provider to cancel a job."),
    ("redeliver", "jobs:redeliver", _JOBS, "Deliver a finished job's files again."),
    ("deliveries", "deliveries:deliveries", _RESULTS, "List deliveries of all jobs, or try the failed ones again."),
    ("destinations", "destinations:app", _RESULTS, "Show where results go; pause a destination, let it go on."),
    ("alerts", "notifications:alerts", _RESULTS, "Show what needs attention now."),
    ("notifications", "notifications:app", _RESULTS, "List and manage notification endpoints (outgoing webhooks)."),
    ("tail", "tail:tail", _EVENTS, "Print events as they arrive, from the durable journal."),
    ("events", "events:app", _EVENTS, "Show, verify, export, replay and rebuild the journal."),
    ("allowlist", "allowlist:app", _EVENTS, "Show the addresses that webhooks may come from, and explain a verdict."),
    ("trigger", "trigger:trigger", _EVENTS, "Send correctly signed webhook events to a receiver."),
    ("sign", "sign:sign", _EVENTS, "Print the three headers that sign a webhook body."),
    ("verify", "sign:verify", _EVENTS, "Check the signature of a webhook body."),
    ("validate", "provider:validate", _ACCOUNT, "Check the Replicate API token."),
    ("versions", "provider:versions", _ACCOUNT, "List a model's versions, newest first."),
    ("billing", "provider:billing", _ACCOUNT, "Show what has been spent."),
    ("token", "token:app", _ACCOUNT, "Save or delete the Replicate API token."),
    ("backup", "backup:backup", _DATA, "Back the database up into one file, while the daemon runs."),
    ("restore", "restore:restore", _DATA, "Put a backup in the database's place; the daemon must be stopped."),
    ("prune", "prune:prune", _DATA, "Remove old data, a little at a time, while the daemon runs."),
    ("migrate", "migrate:migrate", _DATA, "Bring the database to this version's schema; the daemon must be stopped."),
    ("migrate-store", "migrate:migrate_store", _DATA, "Copy everything into another, empty database."),
)  # fmt: skip
ALIASES = {"server": "serve"}
TARGETS = {name: target for name, target, _, _ in COMMANDS}


def overview() -> str:
    """What ``tunerd --help`` prints, made without the parser: importing that takes longer than all the rest."""
    lines = [
        "Usage: tunerd COMMAND [OPTIONS]",
        "",
        "Closes the loop of cloud training on Replicate: submit, receive its signed events,",
        "keep every one of them, deliver the model.",
    ]
    for group in (_DAEMON, _JOBS, _RESULTS, _EVENTS, _ACCOUNT, _DATA):
        found = [(name, line) for name, _, its_group, line in COMMANDS if its_group == group]
        width = max(10, *(len(name) + 1 for name, _ in found))
        lines += ["", f"{group}:", *(f"  {name:<{width}} {line}" for name, line in found)]
    return "\n".join((*lines, "", EPILOGUE))


EPILOGUE = """\
tunerd COMMAND --help shows the options of a command.
Client commands talk to the daemon at TUNERD_URL (default http://127.0.0.1:8080),
with TUNERD_ADMIN_TOKEN where set.
Exit codes: 0 done, 1 failed, 2 usage, 3 the daemon cannot be reached, 78 misconfigured."""


def build_app(name: str) -> App:
    """The parser of one command, which is imported only when the parser comes to it."""
    from cyclopts import App, Parameter

    from .prose import reflow_docs

    reflow_docs(import_module(f".{TARGETS[name].partition(':')[0]}", __package__))
    app = App(
        name="tunerd",
        help_format="plaintext",
        version_flags=[],
        default_parameter=Parameter(negative=(), show_default=False),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    app.command(f"{__package__}.{TARGETS[name]}", name=name, alias=[old for old, new in ALIASES.items() if new == name])
    return app


def installed_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tunerd")
    except PackageNotFoundError:  # a source tree that was not installed
        return "0+unknown"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is returned. No expected failure shows a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a character is no reason to die
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _run(arguments: list[str]) -> int:
    from ..errors import Misconfigured, TunerdError
    from .output import remark

    first = arguments[0] if arguments else "--help"
    if first in {"--help", "-h", "help"}:
        print(overview())
        return OK
    if first in {"--version", "-V"}:
        print(f"tunerd {installed_version()}")
        return OK
    try:
        return _command(first, arguments)
    except ApiProblem as problem:
        if "--json" in arguments:
            print(json.dumps(problem.problem), file=sys.stderr)
        else:
            remark(f"tunerd: {problem.message}")
        return problem.exit_code
    except CliError as problem:
        remark(f"tunerd: {problem.message}")
        return problem.exit_code
    except Misconfigured as problem:
        remark(f"tunerd: {problem.title}: {problem.detail}")
        return MISCONFIGURED
    except TunerdError as problem:
        remark(f"tunerd: {problem.title}: {problem.detail} [{problem.code}]")
        return FAILED


def _command(name: str, arguments: list[str]) -> int:
    name = ALIASES.get(name, name)
    if name not in TARGETS:
        import difflib

        near = difflib.get_close_matches(name, TARGETS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise Usage(f"there is no command {name!r}.{hint}\nTry: tunerd --help")
    if name == "serve":  # it stops with 0 also before it has begun: loading takes half a second
        # Not by an exception: one raised while a finaliser or a C callback runs is printed and forgotten, and the stop
        # with it. Nothing is open yet that would have to be closed.
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(OK))
        garbage.wait()
    from cyclopts import CycloptsError

    try:
        result = build_app(name)(arguments)
    except CycloptsError as problem:
        raise Usage(f"{problem}\nTry: tunerd {name} --help") from None
    finally:
        garbage.go_on()  # where it never came to being ready
    return result if isinstance(result, int) else OK
