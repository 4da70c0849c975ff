"""The build hook: what it fetched is known again, a change is noticed, and no network is needed where all is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hatch_build
from tests.support.vendor import vendor_files

__all__ = ["vendor_files"]
ROOT = Path(hatch_build.__file__).parent
NO_NETWORK = {
    "npm_config_registry": "http://127.0.0.1:9/",
    "npm_config_cache": "/nonexistent",
    "npm_config_fetch_retries": "0",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the hook reads and writes, in a place of its own."""
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / hatch_build.VENDOR, tmp_path / hatch_build.VENDOR)
    return tmp_path


def test_what_is_there_is_known_again(tree: Path) -> None:
    assert hatch_build.is_current(tree)


@pytest.mark.parametrize("change", ["lock", "file", "missing", "manifest"])
def test_a_change_is_noticed(tree: Path, change: str) -> None:
    vendor = tree / hatch_build.VENDOR
    match change:
        case "lock":
            lock = tree / "package-lock.json"
            lock.write_text(lock.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        case "file":
            (vendor / "htmx.min.js").write_bytes(b"alert(1)")
        case "missing":
            (vendor / "pico.min.css").unlink()
        case "manifest":
            (vendor / hatch_build.MANIFEST).write_text("[", encoding="utf-8")
    assert not hatch_build.is_current(tree)


def test_each_package_comes_with_its_licence() -> None:
    packages = {name.partition(".")[0] for name in hatch_build.FILES}
    for package in packages:
        text = (ROOT / hatch_build.VENDOR / f"{package}.LICENSE.txt").read_text(encoding="utf-8")
        assert "WARRANT" in text.upper()


def test_the_lock_names_no_place() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert "resolved" not in entry, name
        assert entry["integrity"].startswith("sha512-"), name


def test_a_wheel_is_built_without_a_network_and_holds_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"{hatch_build.VENDOR.as_posix()}/{name}" for name in hatch_build.FILES} <= names
    assert "daemon/web/static/js/app.js" in names and "daemon/web/templates/base.html" in names


def test_an_authority_that_pip_knows_is_told_to_npm(tmp_path: Path) -> None:
    file = tmp_path / "company.pem"
    file.touch()
    name = "NODE_EXTRA_CA_CERTS"
    for variable in hatch_build.AUTHORITIES:
        assert hatch_build.with_authorities({variable: str(file), "PATH": "x"})[name] == str(file)
    assert hatch_build.with_authorities({name: str(file), "SSL_CERT_FILE": __file__})[name] == str(file)
    for gone in ({}, {"SSL_CERT_FILE": str(tmp_path / "gone")}, {"SSL_CERT_FILE": ""}):
        assert hatch_build.with_authorities(gone) == gone
