"""``tunerd deploy``: configuration for what stands around the daemon, made of the settings in force."""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter

from ..deploy import caddy, nginx, traefik, units
from ..deploy.facts import INTERNAL, SERVER_NAME, Facts, upstream_of
from . import output
from .client import Client
from .exits import Failed, Unreachable, Usage

_NAME = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_UPSTREAM = re.compile(r"unix:/[\w./-]+|(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", re.ASCII)
_PATH = re.compile(r"/[\w./@+-]*", re.ASCII)


def deploy(
    what: Literal["nginx", "caddy", "traefik", "systemd"],
    /,
    *,
    server_name: Annotated[str | None, Parameter(help="Public host name; else that of the webhook URL.")] = None,
    upstream: Annotated[
        str | None, Parameter(help="HOST:PORT or unix:/path of the daemon as the proxy reaches it.")
    ] = None,
    allow: Annotated[
        list[str] | None, Parameter(help="CIDR that may call the webhook path; else the IP rule in force; repeatable.")
    ] = None,
    internal: Annotated[
        list[str] | None, Parameter(help="CIDR that may see everything else; repeatable. RFC 1918 if none is given.")
    ] = None,
    https_port: Annotated[int, Parameter(help="Port of the proxy.")] = 443,
    certificate: Annotated[Path | None, Parameter(help="Certificate chain (PEM).")] = None,
    key: Annotated[Path | None, Parameter(help="Its key (PEM).")] = None,
    labels: Annotated[bool, Parameter(help="Traefik: labels for Docker instead of a file.")] = False,
    defaults: Annotated[bool, Parameter(help="Ignore the settings; print the files of deploy/.")] = False,
    to: Annotated[Path | None, Parameter(name="--output", help="systemd: write the units into this folder.")] = None,
) -> int:
    """Print configuration for nginx, Caddy, Traefik or systemd.

    The running daemon is asked what it runs with (TUNERD_URL); where none answers, the configuration is read as
    "tunerd serve" would read it. Nothing is installed. The webhook path is open to the IP rule's ranges, or to
    everybody where there is none; all else to internal addresses only.

    For example:

      tunerd deploy nginx > /etc/nginx/conf.d/tunerd.conf
      tunerd deploy systemd --output /etc/systemd/system
    """
    facts = Facts() if defaults else _facts(for_proxy=what != "systemd", named=server_name is not None)
    if what == "systemd" and not defaults:
        facts = msgspec.structs.replace(facts, program=_checked(_PATH, units.installed_program(Path(sys.executable))))
    given: dict[str, Any] = {
        "server_name": server_name and _checked(_NAME, server_name, "--server-name: a host name"),
        "upstream": upstream and _checked(_UPSTREAM, upstream, "--upstream: HOST:PORT or unix:/path"),
        "ranges": _networks("--allow", allow),
        "internal": _networks("--internal", internal),
        "https_port": https_port,
        "certificate": certificate and _checked(_PATH, certificate.absolute(), "--certificate: a plain path"),
        "key": key and _checked(_PATH, key.absolute(), "--key: a plain path"),
    }
    facts = msgspec.structs.replace(facts, **{name: value for name, value in given.items() if value})
    if what == "systemd":
        _units(units.render(facts), to)
        return 0
    if what == "traefik":
        if facts.upstream.startswith("unix:") and not labels:
            raise Failed(
                "Traefik cannot reach a unix socket: let tunerd listen on a port too, or name one (--upstream)."
            )
        print(traefik.render_labels(facts) if labels else traefik.render(facts), end="")
    else:
        print((nginx if what == "nginx" else caddy).render(facts), end="")
    return 0


def _facts(*, for_proxy: bool, named: bool) -> Facts:
    live = _live() or _configured()
    host = urlsplit(live["webhook_url"] or "").hostname
    if host is None or not _NAME.fullmatch(host):
        host = SERVER_NAME
        if for_proxy and not named:
            output.remark(f"No webhook URL with a host name is set: {SERVER_NAME} stands for yours (--server-name).")
    if live["webhook_ip_mode"] == "enforce" and for_proxy:
        output.remark(
            "The ranges are those of the cloud's feed today, which changes about weekly, while this text does not: "
            "print it anew now and then, or leave the rule to tunerd alone (--allow 0.0.0.0/0 --allow ::/0)."
        )
    upstream = upstream_of(live["listening"])
    if upstream is None or not _UPSTREAM.fullmatch(upstream):
        raise Failed("The daemon has no listener that speaks plain HTTP: name one with --upstream.")
    return Facts(
        server_name=host,
        upstream=upstream,
        ranges=tuple(live["webhook_ranges"]),
        internal=INTERNAL,
        max_body_mib=live["max_body_mib"],
        listen=tuple(live["listening"]),
    )


def _live() -> Any:
    """What the running daemon says; ``None`` where none answers."""
    client = Client.from_environment()
    try:
        return client.get("/api/cloud/daemon")
    except Unreachable:
        output.remark(f"No daemon answers at {client.url}: made of the configuration instead.")
        return None


def _configured() -> dict[str, Any]:
    from ..config import load_settings

    settings = load_settings()
    return {
        "listening": list(settings.listen),
        "webhook_url": settings.webhook_url,
        "webhook_ip_mode": settings.webhook_ip_mode,
        "webhook_ranges": list(settings.webhook_allowed_ips) if settings.webhook_ip_mode == "off" else [],
        "max_body_mib": settings.max_body_mib,
    }


def _units(found: dict[str, str], folder: Path | None) -> None:
    for name, text in found.items():
        if folder is None:
            print(f"# ----- /etc/systemd/system/{name}\n{text}")
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as problem:
            raise Failed(f"{folder / name} cannot be written: {problem.strerror}.") from None
        output.remark(f"{folder / name}")


def _checked(pattern: re.Pattern[str], value: Any, expected: str = "") -> Any:
    """``value``, if nothing in it means something to the configuration that it goes into."""
    if not pattern.fullmatch(str(value)):
        raise Usage(f"deploy: {expected or str(value)} is expected.")
    return value


def _networks(option: str, given: list[str] | None) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(entry)) for entry in given or ())
    except ValueError as problem:
        raise Usage(f"deploy: {option}: {problem}.") from None
