"""The local folder's options, and a disk that is full."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings
from daemon.delivery.destinations import local
from daemon.delivery.destinations.base import Place
from daemon.delivery.errors import Permanent, Retry
from tests.conftest import skip_or_fail
from tests.delivery.disk.test_unpack import MEMBERS, special, tar, zipped
from tests.support.disks import NoMount, resize, small_disk
from tests.support.outputs import manifest, names, sha256
from tests.support.packages import package, place, staged

UNPACK = local.Options(unpack=True)


@pytest.fixture
def here(settings: Settings) -> Place:
    return place(settings)


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.output_dir / "job_abc"


def archives(tmp_path: Path) -> Any:
    content = {
        "model.tar": tar(tmp_path / "m.tar", list(MEMBERS)).read_bytes(),
        "samples.zip": zipped(tmp_path / "s.zip", [("1.png", b"one")]).read_bytes(),
        "bad.tar": tar(tmp_path / "b.tar", [special("l", b"2", "/etc/passwd")]).read_bytes(),
        "samples": b"a file that has the folder's name",
        "plain.bin": b"plain",
    }
    return staged(tmp_path / "staging", content)


def test_archives_are_unpacked_beside_themselves(here: Place, folder: Path, tmp_path: Path) -> None:
    job = package(archives(tmp_path))
    local.publish(job, UNPACK, here)
    assert names(folder) == [
        "bad.tar",
        "manifest.json",
        "model",
        "model.tar",
        "plain.bin",
        "samples",
        "samples-unpacked",
        "samples.zip",
    ]
    assert (folder / "model/flux-lora/lora.safetensors").read_bytes() == MEMBERS[0][1]
    written = manifest(folder)
    assert [file["name"] for file in written["files"]] == [file.name for file in job.files]
    told = {one["archive"]: one for one in written["unpacked"]}
    assert told["samples.zip"] == {
        "archive": "samples.zip",
        "folder": "samples-unpacked",
        "files": [{"name": "1.png", "bytes": 3, "sha256": sha256(b"one")}],
    }
    assert told["model.tar"]["folder"] == "model" and len(told["model.tar"]["files"]) == 2
    assert "link" in told["bad.tar"]["refused"]


def test_unpacking_again_keeps_what_is_right(here: Place, folder: Path, tmp_path: Path) -> None:
    job = package(archives(tmp_path))
    local.publish(job, UNPACK, here)
    lora, manifest_file = folder / "model/flux-lora/lora.safetensors", folder / "manifest.json"
    before = (lora.stat().st_ino, manifest_file.stat().st_ino)
    local.publish(job, UNPACK, here)
    assert (lora.stat().st_ino, manifest_file.stat().st_ino) == before
    lora.write_bytes(b"spoiled")
    (folder / ".tunerd-0123456789abcdef.part").mkdir()
    (folder / ".tunerd-0123456789abcdef.part/x").write_text("left by a crash")
    local.publish(job, UNPACK, here)
    assert lora.read_bytes() == MEMBERS[0][1] and ".tunerd-0123456789abcdef.part" not in names(folder)


def test_a_manifest_of_the_user_s_own_is_no_hindrance(here: Place, folder: Path, tmp_path: Path) -> None:
    job = package(archives(tmp_path))
    local.publish(job, UNPACK, here)
    for text in ('{"unpacked": 5}', '{"unpacked": [{"folder": 1}, 7]}', "[]", "rubbish", '{"unpacked": ["folder"]}'):
        (folder / "manifest.json").write_text(text)
        local.publish(job, UNPACK, here)
        assert len(manifest(folder)["unpacked"]) == 3


def test_limits_of_unpacking(here: Place, folder: Path, tmp_path: Path) -> None:
    job = package(archives(tmp_path))
    local.publish(job, local.Options(unpack=True, unpack_max_files=1), here)
    told = {one["archive"]: one for one in manifest(folder)["unpacked"]}
    assert "more than 1 entries" in told["model.tar"]["refused"] and "folder" in told["samples.zip"]


async def test_the_latest_job_of_a_configuration(here: Place, settings: Settings, tmp_path: Path) -> None:
    options = local.Options(latest=True)
    link = settings.output_dir / "latest" / "my-cat"

    async def deliver(job_id: str, completed_at: float, config_name: str | None = "my cat") -> None:
        files = staged(tmp_path / job_id, {"m.bin": job_id.encode()})
        job = package(files, job_id=job_id, completed_at=completed_at, config_name=config_name)
        local.publish(job, options, here)

    await deliver("job_1", 1000.0)
    assert str(link.readlink()) == "../job_1" and (link / "m.bin").read_bytes() == b"job_1"
    await deliver("job_2", 2000.0)
    assert (link / "m.bin").read_bytes() == b"job_2"
    await deliver("job_1", 1000.0)  # again: an older one does not take its place
    await deliver("job_0", 500.0)
    await deliver("job_x", 9000.0, None)
    assert (link / "m.bin").read_bytes() == b"job_2" and names(link.parent) == ["my-cat"]
    link.unlink()
    link.mkdir()
    await deliver("job_3", 3000.0)  # the user's own folder stays
    assert not link.is_symlink()
    link.rmdir()
    link.parent.rmdir()
    link.parent.symlink_to(tmp_path)
    await deliver("job_4", 4000.0)  # no link where none can be, and a delivery all the same
    assert (settings.output_dir / "job_4" / "manifest.json").exists() and link.parent.is_symlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 4_000_000) as folder:
            yield folder
    except NoMount as missing:
        skip_or_fail(str(missing))


def test_a_disk_without_room_is_not_begun(disk: Path, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"m.bin": bytes(3_000_000)}))
    with pytest.raises(Retry, match="no space left"):
        local.publish(job, local.Options(path=str(disk)), here)
    assert names(disk / "job_abc") == []
    with pytest.raises(Permanent, match="nearly full"):
        local.check(local.Options(path=str(disk)), here)
    assert names(disk) == ["job_abc"]


def test_a_disk_that_fills_up(disk: Path, here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else takes the room that was there when it began."""
    monkeypatch.setattr(local, "RESERVE", -(10**12))
    content = os.urandom(3_000_000)
    job = package(staged(tmp_path / "staging", {"a.bin": content, "b.bin": content}))
    options = local.Options(path=str(disk))
    with pytest.raises(Retry, match="No space left on device"):
        local.publish(job, options, here)
    assert names(disk / "job_abc") == ["a.bin"] and (disk / "job_abc/a.bin").read_bytes() == content
    resize(disk, 20_000_000)
    local.publish(job, options, here)
    assert names(disk / "job_abc") == ["a.bin", "b.bin", "manifest.json"]
    assert json.loads((disk / "job_abc/manifest.json").read_text())["files"][1]["sha256"] == sha256(content)
