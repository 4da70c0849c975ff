"""Run the daemon as a process: listeners, signals, reload, drain, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvloop
from aiohttp import web

from . import app, garbage, systemd, tracing
from .config import Settings
from .errors import Misconfigured, TunerdError
from .listeners import BACKLOG, Listener, ListenFailed, open_listeners
from .logs import configure_logging, for_people
from .ownership import check_ownership
from .web.leaving import leave
from .web.runner import ProxiedSite, make_runner

EXIT_OK, EXIT_FAILED, EXIT_MISCONFIGURED = 0, 1, 78  # 78 is EX_CONFIG of sysexits.h

log = structlog.get_logger()


def run(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT; the exit code for the shell. ``reread`` gives the settings anew, for a reload."""
    configure_logging(settings.log_format, logging.getLevelNamesMapping()[settings.log_level.upper()])
    logging.captureWarnings(True)
    try:
        check_ownership()
        return uvloop.run(_serve(settings, reread))
    except Misconfigured as problem:
        _tell_failed(settings, f"{problem.title}: {problem.detail}")
        return EXIT_MISCONFIGURED
    except ListenFailed as problem:
        _tell_failed(settings, str(problem))
        return EXIT_FAILED


def _tell_failed(settings: Settings, reason: str) -> None:
    if for_people(settings.log_format):
        print(f"tunerd: {reason}", file=sys.stderr)
    else:  # whoever reads the log reads JSON lines
        log.critical("not started", reason=reason)


class _Signals:
    """``stop`` at the first SIGTERM or SIGINT, ``hurry`` at the second; ``hang_up`` at each SIGHUP."""

    def __init__(self) -> None:
        self.stop, self.hurry, self.hang_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._on_terminal = sys.stdin is not None and sys.stdin.isatty()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _stop(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()

    def _hang_up(self) -> None:
        """A reload; but where a terminal was closed, the end of what ran in it."""
        if self._on_terminal and not _has_terminal():
            self._stop()
        else:
            self.hang_up.set()


def _has_terminal() -> bool:
    try:
        Path("/dev/tty").open("rb", buffering=0).close()
    except OSError:
        return False
    return True


async def _serve(settings: Settings, reread: Callable[[], Settings]) -> int:
    signals = _Signals()
    # Bound before anything else is opened: a taken port is told at once, and clients wait in the backlog meanwhile.
    listeners = _open_listeners(settings)
    async with contextlib.AsyncExitStack() as stack:
        for listener in listeners:
            stack.callback(listener.socket.close)
        stack.push_async_callback(asyncio.to_thread, tracing.start())
        parts = await stack.enter_async_context(app.open_parts(settings, reread, tuple(map(str, listeners))))
        runner = make_runner(parts.web)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for listener in listeners:
            site = ProxiedSite if listener.proxied else web.SockSite
            await site(runner, listener.socket, backlog=BACKLOG).start()
        garbage.keep_loaded()
        for listener in listeners:
            print(f"tunerd ready on {listener}", flush=True)
        _tell_ready(listeners)
        failed = await _until_stopped(parts, signals, listeners)
        systemd.notify("STOPPING=1", "STATUS=draining")
        log.info("draining")
        await parts.drain(lambda: leave(runner, signals.hurry))
    if failed is not None:
        log.critical("stopped: a part of the daemon died", part=failed, exc_info=None)
        return EXIT_FAILED
    log.info("stopped")
    return EXIT_OK


def _open_listeners(settings: Settings) -> list[Listener]:
    try:
        return open_listeners(settings.listen)
    except ListenFailed:
        app.refuse_second(settings)  # started twice: that is what is to be told
        raise


def _tell_ready(listeners: Sequence[Listener]) -> None:
    systemd.notify("READY=1", f"STATUS=serving on {', '.join(map(str, listeners))}")


async def _until_stopped(parts: app.Parts, signals: _Signals, listeners: Sequence[Listener]) -> str | None:
    """Wait for the signal; the name of the background part that died instead, if one did.

    Without this watch aiohttp goes on answering 200 over a dead worker.
    """
    background = parts.start_background()
    background.append(_task(_reload_on_signal(parts, signals, listeners), "reload"))
    period = systemd.watchdog_seconds()
    if period is not None:
        background.append(_task(systemd.feed_watchdog(period, parts.alive), "watchdog"))
    stopping = _task(signals.stop.wait(), "signal")
    done, _ = await asyncio.wait([stopping, *background], return_when=asyncio.FIRST_COMPLETED)
    failed = next(iter(done - {stopping}), None)
    # They use the store and the session: ended before those are closed under them.
    for task in (stopping, *background):
        task.cancel()
    await asyncio.gather(stopping, *background, return_exceptions=True)
    if failed is None:
        return None
    problem = None if failed.cancelled() else failed.exception()
    log.error("background task ended", part=failed.get_name(), exc_info=problem)
    return failed.get_name()


async def _reload_on_signal(parts: app.Parts, signals: _Signals, listeners: Sequence[Listener]) -> None:
    while True:
        await signals.hang_up.wait()
        signals.hang_up.clear()
        systemd.notify_reloading()
        with contextlib.suppress(TunerdError):  # it is in the log, and everything is as it was
            parts.reload()
        _tell_ready(listeners)


def _task(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    return asyncio.create_task(work, name=name)
