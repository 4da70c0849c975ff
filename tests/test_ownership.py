from __future__ import annotations

from pathlib import Path

import pytest

from daemon.errors import Misconfigured
from daemon.ownership import check_ownership, owners


def install(site: Path, name: str, *files: str) -> None:
    folder = site / f"{name}.dist-info"
    folder.mkdir(parents=True)
    folder.joinpath("RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files), encoding="utf-8")


def test_this_environment_is_ours() -> None:
    check_ownership()


def test_the_other_owner_is_named(tmp_path: Path) -> None:
    install(tmp_path, "tunerd-0.1.0", "daemon/__init__.py", "daemon/app.py")
    install(tmp_path, "Python_Daemon-3.1.2", "LICENSE", "daemon/__init__.py", "daemon/daemon.py")
    with pytest.raises(Misconfigured, match=r"python-daemon.*own") as refused:
        check_ownership([str(tmp_path), str(tmp_path / "missing")])
    assert "tunerd," not in refused.value.detail


def test_only_the_package_itself_counts(tmp_path: Path) -> None:
    install(tmp_path, "other-1", "other/daemon/__init__.py", "daemon.py", "daemonize/__init__.py")
    install(tmp_path, "broken-1")
    assert list(owners([str(tmp_path)])) == []
