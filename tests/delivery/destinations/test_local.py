"""The local folder: complete or not there, never outside, the same when done again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from daemon.delivery import staging
from daemon.delivery.destinations.base import Place, find
from daemon.delivery.destinations.local import Options, publish
from daemon.delivery.errors import Permanent, Retry
from daemon.store.records import DestinationConfig
from tests.support.outputs import names, settings_for, sha256
from tests.support.packages import package, staged


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(settings_for(tmp_path, "http://127.0.0.1:9"))


@pytest.fixture
def folder(place: Place) -> Path:
    return place.output_dir / "job_abc"


def test_files_and_manifest(place: Place, folder: Path, tmp_path: Path) -> None:
    files = staged(tmp_path / "staging", {"a": b"one", "b": b"two"})
    assert publish(package(files), Options(), place) == folder.as_uri()
    assert names(folder) == ["a", "b", "manifest.json"]
    assert json.loads((folder / "manifest.json").read_text()) == {
        "job_id": "job_abc",
        "provider_job_id": "abc",
        "model": "acme/trainer",
        "version": "5c7d",
        "completed_at": "2023-11-14T22:13:20.250Z",
        "files": [
            {"name": "a", "bytes": 3, "sha256": sha256(b"one"), "source_url": "https://replicate.delivery/a"},
            {"name": "b", "bytes": 3, "sha256": sha256(b"two"), "source_url": "https://replicate.delivery/b"},
        ],
    }
    shutil.rmtree(tmp_path / "staging")
    assert (folder / "a").read_bytes() == b"one"


@pytest.mark.parametrize("output", [None, "hello Alice", ["Hel", "lo"], 42, {"a": [1, None]}])
def test_an_output_without_files(place: Place, folder: Path, output: Any) -> None:
    publish(package(output=output, completed_at=None), Options(), place)
    written = json.loads((folder / "manifest.json").read_text())
    assert (written["files"], written["output"], written["completed_at"]) == ([], output, None)
    assert names(folder) == ["manifest.json"]


def test_again_keeps_what_is_right_and_replaces_what_is_not(place: Place, folder: Path, tmp_path: Path) -> None:
    files = staged(tmp_path / "staging", {"a": b"one", "b": b"two"})
    publish(package(files), Options(), place)
    before = {name: (folder / name).stat().st_ino for name in names(folder)}
    (folder / "b").unlink()
    (folder / "b").write_bytes(b"bad")
    (folder / "mine.txt").write_text("the user's own")
    (folder / ".tunerd-0123456789abcdef.part").write_bytes(b"left by a crash")
    publish(package(files), Options(), place)
    assert names(folder) == ["a", "b", "manifest.json", "mine.txt"]
    assert (folder / "b").read_bytes() == b"two"
    assert (folder / "a").stat().st_ino == before["a"]
    assert [file["name"] for file in json.loads((folder / "manifest.json").read_text())["files"]] == ["a", "b"]


def test_a_folder_of_its_own(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    files = staged(tmp_path / "staging", {"a": b"one"})
    publish(package(files), Options(path="~/models"), place)
    assert (tmp_path / "models" / "job_abc" / "a").read_bytes() == b"one"
    with pytest.raises(Permanent, match="not absolute"):
        publish(package(files), Options(path="models"), place)
    with pytest.raises(Permanent, match="an absolute path is expected"):
        find(DestinationConfig("here", "local", {"path": "models"}), {})


def test_another_file_system_gets_a_copy(
    place: Place, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    files = staged(tmp_path / "staging", {"a": b"x" * 3_000_000})
    publish(package(files), Options(), place)
    assert names(folder) == ["a", "manifest.json"]
    assert staging.hash_file(folder / "a") == staging.Fetched(3_000_000, sha256(b"x" * 3_000_000))


def test_no_symbolic_link_is_followed(place: Place, folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    files = staged(tmp_path / "staging", {"a": b"one"})
    link(folder / "a", victim)
    link(folder / "manifest.json", victim)
    publish(package(files), Options(), place)
    assert victim.read_text() == "precious"
    assert not (folder / "a").is_symlink() and (folder / "a").read_bytes() == b"one"
    assert not (folder / "manifest.json").is_symlink()


def test_a_job_folder_that_is_a_link_is_refused(place: Place, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link(folder, elsewhere)
    with pytest.raises(Permanent, match="symbolic link"):
        publish(package(staged(tmp_path / "staging", {"a": b"one"})), Options(), place)
    assert names(elsewhere) == []


def test_what_stands_in_the_way(place: Place, folder: Path, tmp_path: Path) -> None:
    files = staged(tmp_path / "staging", {"a": b"one"})
    (folder / "a").mkdir(parents=True)
    with pytest.raises(Permanent, match="a folder stands"):
        publish(package(files), Options(), place)
    assert names(folder) == ["a"]
    shutil.rmtree(place.output_dir)
    place.output_dir.write_text("a file")
    with pytest.raises(Retry):
        publish(package(files), Options(), place)


def test_a_staged_file_that_is_gone(place: Place, folder: Path, tmp_path: Path) -> None:
    files = staged(tmp_path / "staging", {"a": b"one"})
    files[0].path.unlink()
    with pytest.raises(Permanent, match="no longer in the staging folder"):
        publish(package(files), Options(), place)
    assert names(folder) == []


@pytest.mark.parametrize("job_id", ["..", "../x", ".", "a/b", ".tunerd-staging"])
def test_a_job_id_that_leaves_the_folder(place: Place, job_id: str) -> None:
    with pytest.raises(Permanent):
        publish(package(job_id=job_id), Options(), place)


def test_destinations_are_found_by_being_there() -> None:
    found, options = find(DestinationConfig("here", "local", {"path": "/models"}), {})
    assert found.publish is publish and options == Options(path="/models")
    for config in (DestinationConfig("x", "base", {}), DestinationConfig("x", "..fetch", {})):
        with pytest.raises(Permanent, match=r"only .*local"):
            find(config, {})
