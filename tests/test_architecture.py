"""The direction of imports and the size of files, as docs/design.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "daemon"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each room may import besides itself. A file at the top of the package is a room of its own.
LEAVES = {"connecting", "errors", "files", "garbage", "parsing", "metrics", "tracing"}
BELOW_STORE = LEAVES | {"config", "core"}
ROOMS = {
    "errors": set[str](),
    "files": set[str](),
    "garbage": set[str](),
    "connecting": set[str](),
    "parsing": set[str](),
    "metrics": set[str](),
    "tracing": set[str](),
    "ownership": {"errors"},
    "config": LEAVES | {"core"},
    "core": {"errors", "parsing"},
    "store": BELOW_STORE,
    "replicate": BELOW_STORE | {"store"},
    "delivery": BELOW_STORE | {"store", "replicate"},
    "notify": BELOW_STORE | {"store"},
    "keys": BELOW_STORE | {"store", "replicate", "web"},  # for the type checker only: it imports none of them
    "checks": BELOW_STORE | {"store", "replicate", "ownership", "systemd"},
    "web": BELOW_STORE | {"store", "replicate", "keys", "checks", "logs"},  # never delivery: they meet in the store
    "sandbox": LEAVES | {"core"},
    "logs": LEAVES,
    "systemd": LEAVES,
    "listeners": LEAVES | {"systemd"},
    "deploy": LEAVES,
    "reloading": LEAVES | {"config"},
    "app": BELOW_STORE | {"store", "replicate", "delivery", "notify", "keys", "web", "logs", "reloading"},
    "serve": BELOW_STORE | {"app", "web", "logs", "systemd", "listeners", "ownership", "keys"},
    # Commands on the stored data work on the store itself, with or without a daemon.
    "cli": {*BELOW_STORE, "serve", "app", "sandbox", "logs", "ownership", "store", "replicate", "checks", "deploy"},
    "__main__": {"cli"},
    "__init__": set[str](),
}
READS_ENVIRONMENT = {
    "app.py": "the key that the service manager passed: CREDENTIALS_DIRECTORY",
    "config.py": "the daemon's settings",
    "systemd.py": "what the service manager says to this one process: NOTIFY_SOCKET, LISTEN_FDS",
    "tracing.py": "whether traces are asked for: OTEL_*, as OpenTelemetry's own SDK reads them",
    "cli/environment.py": "where a client command finds the daemon: TUNERD_URL, TUNERD_ADMIN_TOKEN",
}
MOST_LINES = 300  # more is two concerns


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[str]:
    """The rooms that ``file`` imports, relative and absolute."""
    package = ("daemon", *file.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "daemon" else [base]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("daemon."))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    room = room_of(file)
    assert set(imported(file)) - {room} <= ROOMS[room]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_stay_small(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_environment_is_read_at_the_edge() -> None:
    readers = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
                readers.add(str(file.relative_to(PACKAGE)))
    assert readers <= set(READS_ENVIRONMENT)
