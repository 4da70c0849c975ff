"""Run the daemon as a process: listeners, signals, drain, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

import structlog
import uvloop
from aiohttp import web

from . import app, systemd, tracing
from .config import Settings
from .errors import Misconfigured
from .logs import configure_logging
from .ownership import check_ownership
from .parsing import split_listener
from .web.runner import make_runner

EXIT_OK, EXIT_FAILED, EXIT_MISCONFIGURED = 0, 1, 78  # 78 is EX_CONFIG of sysexits.h

BACKLOG = 1024  # connections that may wait for accept(): a burst after a restart

log = structlog.get_logger()


class ListenFailed(Exception):
    """A listener could not be opened; the message says which and why."""


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code for the shell."""
    configure_logging(settings.log_format)
    try:
        check_ownership()
        return uvloop.run(_serve(settings))
    except Misconfigured as problem:
        print(f"tunerd: {problem.title}: {problem.detail}", file=sys.stderr)
        return EXIT_MISCONFIGURED
    except ListenFailed as problem:
        print(f"tunerd: {problem}", file=sys.stderr)
        return EXIT_FAILED


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Bound before anything else is opened: a taken port is told at once, and clients wait in the backlog meanwhile.
    sockets = _listen(settings)
    async with contextlib.AsyncExitStack() as stack:
        for listener in sockets:
            stack.callback(listener.close)
        stack.push_async_callback(asyncio.to_thread, tracing.start())
        parts = await stack.enter_async_context(app.open_parts(settings))
        runner = make_runner(parts.web)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for listener in sockets:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        for listener in sockets:
            print(f"tunerd ready on {_shown(listener)}", flush=True)
        systemd.notify("READY=1")
        failed = await _until_stopped(parts, stop)
        systemd.notify("STOPPING=1")
        log.info("draining")
        parts.drain()
    if failed is not None:
        log.critical("stopped: a part of the daemon died", part=failed, exc_info=None)
        return EXIT_FAILED
    log.info("stopped")
    return EXIT_OK


async def _until_stopped(parts: app.Parts, stop: asyncio.Event) -> str | None:
    """Wait for the signal; the name of the background part that died instead, if one did.

    Without this watch aiohttp goes on answering 200 over a dead worker.
    """
    background = parts.start_background()
    stopping = asyncio.create_task(stop.wait(), name="signal")
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


def _listen(settings: Settings) -> list[socket.socket]:
    """Open every configured listener; sockets that systemd passed win over the setting."""
    passed = systemd.passed_sockets()
    if passed:
        return passed
    opened: list[socket.socket] = []
    try:
        for entry in settings.listen:
            opened.append(_open(entry))
    except OSError as problem:
        for listener in opened:
            listener.close()
        raise ListenFailed(
            f"cannot listen on {entry}: {problem.strerror or problem}. "
            "Another program may have the port: choose another with --listen."
        ) from None
    return opened


def _open(entry: str) -> socket.socket:
    where = split_listener(entry)
    if isinstance(where, Path):
        return _open_unix(where)
    family, kind, protocol, _, address = socket.getaddrinfo(*where, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _open_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _refuse_live_socket(path)
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)  # the proxy's group may connect, others may not
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _refuse_live_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # left over by a process that died
    raise OSError(None, f"another process is listening on {path}")


def _shown(listener: socket.socket) -> str:
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"
