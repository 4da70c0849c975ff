"""What the configurations are made of, and the filling of their templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..parsing import PROXY_PREFIX

# The ranges that the seed's configurations let in. RFC 1918; add your own with --internal.
INTERNAL = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
SERVER_NAME = "tunerd.example.com"
PLACEHOLDER = re.compile(r"@([a-z_]+)@")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults give the files in deploy/. ``ranges``: who may call the webhook path; none: anybody."""

    server_name: str = SERVER_NAME
    upstream: str = "127.0.0.1:8080"  # or unix:/path
    ranges: tuple[str, ...] = ()
    internal: tuple[str, ...] = INTERNAL
    max_body_mib: int = 32
    certificate: Path | None = None
    key: Path | None = None
    https_port: int = 443
    listen: tuple[str, ...] = ("127.0.0.1:8080",)
    program: Path = Path("/opt/tunerd/bin/tunerd")

    @property
    def body_limit_mib(self) -> int:
        """A little above tunerd's own, so that tunerd refuses what is too large and says so."""
        return self.max_body_mib + 1


def fill(template: str, **values: str | int | Sequence[str]) -> str:
    """``template`` with each ``@name@`` replaced. A list repeats the line for each item; an empty one drops it."""
    lines: list[str] = []
    for line in template.splitlines():
        filled = [line]
        for name in PLACEHOLDER.findall(line):
            value = values[name]
            items = [str(value)] if isinstance(value, (str, int)) else value
            filled = [text.replace(f"@{name}@", item) for text in filled for item in items]
        lines += filled
    return "\n".join(lines) + "\n"


def upstream_of(listening: Sequence[str]) -> str | None:
    """``HOST:PORT`` or ``unix:/path`` that a proxy on this machine reaches; ``None`` where there is none.

    A unix socket before a port; a listener for PROXY headers never: these configurations speak plain HTTP.
    """
    plain = [entry.removeprefix("http://") for entry in listening if not entry.startswith(PROXY_PREFIX)]
    plain.sort(key=lambda entry: not entry.startswith("unix:"))
    if not plain:
        return None
    host, _, port = plain[0].rpartition(":")
    return f"127.0.0.1:{port}" if host in {"0.0.0.0", "[::]"} else plain[0]  # noqa: S104 - compared, not bound
