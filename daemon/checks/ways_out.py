"""How the daemon's calls leave this machine: proxies and authorities, as the environment names them at the start."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec


class WaysOut(msgspec.Struct, frozen=True):
    """``proxies``: scheme → URL without its login. ``bypassed``: Replicate's API is reached past them."""

    proxies: dict[str, str]
    no_proxy: str | None
    bypassed: bool
    authorities: str | None  # the file or folder of trusted certificates


def ways_out(api_url: str) -> WaysOut:
    found = getproxies()
    paths = ssl.get_default_verify_paths()  # SSL_CERT_FILE and SSL_CERT_DIR, else OpenSSL's own
    return WaysOut(
        {name: without_login(found[name]) for name in ("http", "https", "all") if found.get(name)},
        found.get("no") or None,
        bool(proxy_bypass(urlsplit(api_url).hostname or "")),
        paths.cafile or paths.capath,
    )


def without_login(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "not a URL"
    return f"{parts.scheme}://{parts.hostname}{port}"
