"""Real nginx, Caddy and HAProxy before the daemon: own folders, free ports, self-signed TLS, no system service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from tests.conftest import system_program
from tests.support.ports import free_port

START_SECONDS = 60
NAME = "tunerd.example.com"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Chain and key for ``NAME``, by openssl."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(
        [
            *(system_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(chain), "-days", "2", "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME}"),
        ],
        check=True,
        capture_output=True,
    )
    return chain, key


def prepared(folder: Path, **files: str) -> Path:
    """``folder``, made, with ``files``; an underscore in a name is a dot."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def last_words(log: Path) -> str:
    return log.read_text()[-3000:]


@contextlib.asynccontextmanager
async def process(log: Path, port: int, *command: str, **environ: str) -> AsyncIterator[None]:
    """``command`` running, once it accepts on ``port``; ended afterwards."""
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, cwd=log.parent, env={"PATH": "/usr/sbin:/usr/bin:/bin", **environ}
        )
    try:
        for _ in range(START_SECONDS * 20):
            if running.returncode is not None:
                break
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"does not listen: {last_words(log)}")
        assert running.returncode is None, last_words(log)
        yield
    finally:
        if running.returncode is None:
            running.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.wait(), 10)
        if running.returncode is None:
            running.kill()
            await running.wait()


# As root its workers would become another user, who cannot enter the tests' folders.
NGINX = (
    f"{'user root;' if os.geteuid() == 0 else ''}\n"
    """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
{modules}
events {{ worker_connections 256; }}
{rest}
"""
)
NGINX_HTTP = """\
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
}}
"""


def nginx_files(folder: Path, site: str) -> Path:
    main = NGINX.format(folder=folder, modules="", rest=NGINX_HTTP.format(folder=folder))
    prepared(folder, nginx_conf=main)
    prepared(folder / "conf.d", tunerd_conf=site)
    return folder / "nginx.conf"


@contextlib.asynccontextmanager
async def nginx(folder: Path, site: str, port: int) -> AsyncIterator[None]:
    """nginx with ``site`` in conf.d, as Debian's main file includes it."""
    main = nginx_files(folder, site)
    program = system_program("nginx")
    async with process(folder / "log", port, program, "-p", str(folder), "-c", str(main), "-e", "stderr"):
        yield


STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
LOAD_STREAM = f"load_module {STREAM_MODULE};" if STREAM_MODULE.exists() else ""  # else it is built in


@contextlib.asynccontextmanager
async def nginx_stream(folder: Path, port: int, upstream: str) -> AsyncIterator[None]:
    """nginx that passes connections on with a PROXY header (version 1 is all that it sends)."""
    rest = f"stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {upstream}; proxy_protocol on; }} }}"
    main = prepared(folder, nginx_conf=NGINX.format(folder=folder, modules=LOAD_STREAM, rest=rest)) / "nginx.conf"
    program = system_program("nginx")
    async with process(folder / "log", port, program, "-p", str(folder), "-c", str(main), "-e", "stderr"):
        yield


@contextlib.asynccontextmanager
async def caddy(folder: Path, site: str, port: int) -> AsyncIterator[None]:
    """Caddy with ``site``; the options before it only keep it from a second port and from its admin interface."""
    options = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\thttp_port {free_port()}\n}}\n"
    main = prepared(folder, Caddyfile=options + site) / "Caddyfile"
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    async with process(folder / "log", port, system_program("caddy"), "run", "--config", str(main), **home):
        yield


@contextlib.asynccontextmanager
async def haproxy(folder: Path, port: int, upstream: str, version: str) -> AsyncIterator[None]:
    """HAProxy in TCP mode; ``version`` is send-proxy or send-proxy-v2."""
    text = (
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\nbackend b\n  server s {upstream} {version}\n"
    )
    main = prepared(folder, haproxy_cfg=text) / "haproxy.cfg"
    async with process(folder / "log", port, system_program("haproxy"), "-f", str(main), "-db"):
        yield
