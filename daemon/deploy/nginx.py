"""nginx 1.22 and later: TLS with HTTP/2, the webhook path for the ranges, everything else for internal addresses."""

from __future__ import annotations

from pathlib import Path

from .facts import Facts, fill

_TEMPLATE = """\
# nginx before tunerd: TLS here, the webhook path for those who may call it, the rest for the internal network.
# The server name and the certificate are yours to fill in. See README.md; `tunerd deploy nginx` prints this with your
# settings.
upstream tunerd {
    server @upstream@;
    keepalive 32;
}

server {
    # nginx 1.25.1 and later may write `http2 on;` instead; this form works in all versions.
    listen @port@ ssl http2;
    listen [::]:@port@ ssl http2;
    server_name @server_name@;

    ssl_certificate     @certificate@;
    ssl_certificate_key @key@;
    ssl_protocols       TLSv1.2 TLSv1.3;

    # A little above TUNERD_MAX_BODY_MIB, so that tunerd refuses what is too large and says so.
    client_max_body_size @body_limit@m;
    # As tunerd's own deadlines. A request is passed on when it is here in whole: a slow client holds nothing up.
    client_header_timeout 15s;
    client_body_timeout   60s;

    proxy_http_version 1.1;
    proxy_set_header Connection        "";
    proxy_set_header Host              $http_host;
    # The client's address and nothing that it said about itself: what it sent in such headers is dropped.
    proxy_set_header X-Forwarded-For   $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host  $http_host;
    proxy_set_header X-Real-IP         $remote_addr;
    proxy_set_header Forwarded         "";
    proxy_set_header CF-Connecting-IP  "";
    proxy_set_header True-Client-IP    "";

    # The signature authenticates Replicate's events; tunerd checks it. No redirect may be answered here: Replicate
    # follows none.
    location /api/webhooks/ {
        allow @range@;
        deny @others@;
        proxy_pass http://tunerd;
    }

    location / {
        allow @internal@;
        deny all;

        proxy_pass http://tunerd;
        # Event streams: each line at once, and quiet ones stay open.
        proxy_buffering off;
        proxy_read_timeout 1h;
    }
}
"""


def render(facts: Facts) -> str:
    return fill(
        _TEMPLATE,
        upstream=facts.upstream,
        port=facts.https_port,
        server_name=facts.server_name,
        certificate=str(facts.certificate or Path("/etc/ssl/tunerd/fullchain.pem")),
        key=str(facts.key or Path("/etc/ssl/tunerd/privkey.pem")),
        body_limit=facts.body_limit_mib,
        range=facts.ranges or ("all",),
        others=("all",) if facts.ranges else (),
        internal=facts.internal,
    )
