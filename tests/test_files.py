"""Files that survive a power loss, and the room for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.files import space, write_durably


def test_a_file_is_written_whole_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"before")
    write_durably(path, b"after")
    assert path.read_bytes() == b"after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["kept.json"]


def test_the_name_is_synced_after_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    write_durably(tmp_path / "kept.json", b"x")
    assert [path.parent == tmp_path for path in synced] == [True, False]
    assert synced[-1] == tmp_path


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "kept.json"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"after")
    assert path.read_bytes() == b"before"


def test_the_room_of_a_folder_that_is_not_there_is_its_parents(tmp_path: Path) -> None:
    assert space(tmp_path / "a" / "b").total == space(tmp_path).total > 0
    assert 0 < space(Path("nowhere")).free <= space(Path("nowhere")).total
