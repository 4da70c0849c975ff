"""A stand-in for ngrok and cloudflared: prints and serves what they do, word for word, and tunnels nothing.

Called as either by a two-line script. ``STANDIN`` names a folder: ``names`` holds the host names to get, one a start;
``pid`` gets the process number; ``words``, if there, is said instead, and the program ends with 1.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ["STANDIN"])


def serve(answers: dict[str, object]) -> int:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers[self.path]).encode() if self.path in answers else b"404 page not found\n"
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def ngrok(local: str, name: str) -> None:
    """``ngrok http --log=stdout --log-format=logfmt URL``."""
    url = f"https://{name}"

    def tunnel(number: int, public: str, addr: str) -> dict[str, object]:
        label = "command_line" if number == 0 else f"command_line ({number})"
        return {
            "name": label,
            "ID": f"9d2ae5e5a1c5dd04d1d2a9d9de3c{number:04}",
            "uri": f"/api/tunnels/{label}",
            "public_url": public,
            "proto": "https",
            "config": {"addr": addr, "inspect": True},
            "metrics": {"conns": {"count": 0, "gauge": 0}, "http": {"count": 0, "rate1": 0}},
        }

    others = [tunnel(1, "https://another.ngrok-free.app", "http://localhost:1")]
    # 4040 is taken by the other session: it takes the next port that is free.
    port = serve({"/api/tunnels": {"tunnels": [*others, tunnel(0, url, local)], "uri": "/api/tunnels"}})
    for line in (
        'lvl=info msg="no configuration paths supplied"',
        'lvl=info msg="using configuration at default config path" path=/home/me/.config/ngrok/ngrok.yml',
        'lvl=info msg="open config file" path=/home/me/.config/ngrok/ngrok.yml err=nil',
        f'lvl=info msg="starting web service" obj=web addr=127.0.0.1:{port} allow_hosts=[]',
        'lvl=info msg="client session established" obj=tunnels.session',
        'lvl=info msg="tunnel session started" obj=tunnels.session',
        f'lvl=info msg="started tunnel" obj=tunnels name=command_line addr={local} url={url}',
    ):
        print(f"t=2026-11-05T10:00:00+0000 {line}", flush=True)


THANKS = (
    "Thank you for trying Cloudflare Tunnel. Doing so, without a Cloudflare account, is a quick way to experiment and "
    "try it out. However, be aware that these account-less Tunnels have no uptime guarantee."
)
CREATED = "Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):"


def cloudflared(name: str, *, box: bool) -> None:
    """``cloudflared tunnel --no-autoupdate --url URL``: everything on standard error."""
    port = serve({"/quicktunnel": {"hostname": name}})
    width = 92
    lines = [
        THANKS,
        "Requesting new quick Tunnel on trycloudflare.com...",
    ]
    if box:
        lines += [
            f"+{'-' * width}+",
            f"|  {CREATED:<{width - 2}}|",
            f"|  {f'https://{name}':<{width - 2}}|",
            f"+{'-' * width}+",
        ]
    lines += [
        "Cannot determine default configuration path. No file [config.yml config.yaml] in [~/.cloudflared]",
        "Version 2026.10.0",
        f"Starting metrics server on 127.0.0.1:{port}/metrics",
        "Registered tunnel connection connIndex=0 connection=0a ip=198.41.200.13 location=fra08 protocol=quic",
    ]
    for line in lines:
        print(f"2026-11-05T10:00:00Z INF {line}", file=sys.stderr, flush=True)


def main(program: str) -> None:
    (FOLDER / "pid").write_text(str(os.getpid()))
    (FOLDER / "arguments").write_text(json.dumps(sys.argv[1:]))
    words = FOLDER / "words"
    if words.exists():
        print(words.read_text(), file=sys.stderr, flush=True)
        raise SystemExit(1)
    name, *later = (FOLDER / "names").read_text().split()
    (FOLDER / "names").write_text("\n".join(later or [name]))
    if program == "ngrok":
        ngrok(sys.argv[-1], name)
    else:
        cloudflared(name, box=not (FOLDER / "no-box").exists())
    while True:
        time.sleep(60)
