"""Traefik 3: a file for its file provider, and labels for Docker. Written from its documented options, not run here."""

from __future__ import annotations

from .facts import Facts, fill

MIB = 1024 * 1024

_FILE = """\
# Traefik 3 before tunerd, for its file provider (providers.file.filename or .directory): the webhook path for those who
# may call it, the rest for the internal network. The entry point, the resolver and the name are yours to fill in. See
# README.md; `tunerd deploy traefik` prints this with your settings.
http:
  routers:
    tunerd-webhooks:
      rule: "Host(`@server_name@`) && PathPrefix(`/api/webhooks/`)"
      priority: 1000
      entryPoints:
        - websecure
      middlewares:
        - tunerd-ranges
        - tunerd-clean
        - tunerd-body
      service: tunerd
      tls:
        certResolver: letsencrypt
    tunerd:
      rule: "Host(`@server_name@`)"
      priority: 1
      entryPoints:
        - websecure
      middlewares:
        - tunerd-internal
        - tunerd-clean
      service: tunerd
      tls:
        certResolver: letsencrypt

  middlewares:
    tunerd-ranges:
      ipAllowList:
        sourceRange:
          - "@range@"
    tunerd-internal:
      ipAllowList:
        sourceRange:
          - "@internal@"
    # What the client said about itself. Traefik replaces X-Forwarded-* and X-Real-Ip by itself.
    tunerd-clean:
      headers:
        customRequestHeaders:
          Forwarded: ""
          CF-Connecting-IP: ""
          True-Client-IP: ""
    # A little above TUNERD_MAX_BODY_MIB. It takes a request in whole before tunerd sees it; streams go without it.
    tunerd-body:
      buffering:
        maxRequestBodyBytes: @body_limit@

  services:
    tunerd:
      loadBalancer:
        servers:
          - url: "http://@upstream@"
"""

_LABELS = """\
# Traefik 3 before tunerd with Docker: the service of a compose file. The image, the resolver and the name are yours to
# fill in. See README.md; `tunerd deploy traefik --labels` prints this with your settings.
services:
  tunerd:
    image: tunerd
    environment:
      TUNERD_LISTEN: 0.0.0.0:8080
      TUNERD_WEBHOOK_URL: https://@server_name@
      # Traefik's address in their common network: it is the one whose X-Forwarded-For is believed.
      TUNERD_TRUSTED_PROXIES: 172.16.0.0/12
    labels:
      - "traefik.enable=true"
      - "traefik.http.services.tunerd.loadbalancer.server.port=8080"
      - "traefik.http.routers.tunerd-webhooks.rule=Host(`@server_name@`) && PathPrefix(`/api/webhooks/`)"
      - "traefik.http.routers.tunerd-webhooks.priority=1000"
      - "traefik.http.routers.tunerd-webhooks.entrypoints=websecure"
      - "traefik.http.routers.tunerd-webhooks.tls.certresolver=letsencrypt"
      - "traefik.http.routers.tunerd-webhooks.middlewares=tunerd-ranges,tunerd-clean,tunerd-body"
      - "traefik.http.routers.tunerd-webhooks.service=tunerd"
      - "traefik.http.routers.tunerd.rule=Host(`@server_name@`)"
      - "traefik.http.routers.tunerd.priority=1"
      - "traefik.http.routers.tunerd.entrypoints=websecure"
      - "traefik.http.routers.tunerd.tls.certresolver=letsencrypt"
      - "traefik.http.routers.tunerd.middlewares=tunerd-internal,tunerd-clean"
      - "traefik.http.routers.tunerd.service=tunerd"
      - "traefik.http.middlewares.tunerd-ranges.ipallowlist.sourcerange=@ranges@"
      - "traefik.http.middlewares.tunerd-internal.ipallowlist.sourcerange=@internal_list@"
      - "traefik.http.middlewares.tunerd-clean.headers.customrequestheaders.Forwarded="
      - "traefik.http.middlewares.tunerd-clean.headers.customrequestheaders.CF-Connecting-IP="
      - "traefik.http.middlewares.tunerd-clean.headers.customrequestheaders.True-Client-IP="
      - "traefik.http.middlewares.tunerd-body.buffering.maxrequestbodybytes=@body_limit@"
"""

# Everybody: where no range is configured the webhook path is open, as the signature authenticates.
_ANYBODY = ("0.0.0.0/0", "::/0")


def render(facts: Facts) -> str:
    """The file provider's file."""
    return fill(
        _FILE,
        server_name=facts.server_name,
        range=facts.ranges or _ANYBODY,
        internal=facts.internal,
        body_limit=facts.body_limit_mib * MIB,
        upstream=facts.upstream,
    )


def render_labels(facts: Facts) -> str:
    """The service of a compose file, with its labels."""
    return fill(
        _LABELS,
        server_name=facts.server_name,
        ranges=",".join(facts.ranges or _ANYBODY),
        internal_list=",".join(facts.internal),
        body_limit=facts.body_limit_mib * MIB,
    )
