"""Debian's tinyproxy, started for one test: somebody else's idea of what a proxy is."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.ports import free_port

START_SECONDS = 10.0


class TinyproxyMissing(Exception):
    """No tinyproxy on this machine."""


@contextlib.asynccontextmanager
async def running_tinyproxy(folder: Path, upstream: str) -> AsyncIterator[str]:
    """Its URL; it passes everything on to the proxy ``upstream``. Raises ``TinyproxyMissing``."""
    program = shutil.which("tinyproxy")
    if program is None:
        raise TinyproxyMissing("tinyproxy is not installed: scripts/system-parts.sh installs it as root")
    port = free_port()
    configuration = folder / "tinyproxy.conf"
    configuration.write_text(
        f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\nConnectPort 443\n"
        f"Upstream http {urlsplit(upstream).netloc}\n"
    )
    log = (folder / "tinyproxy.log").open("wb")
    process = await asyncio.create_subprocess_exec(program, "-d", "-c", str(configuration), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        log.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
