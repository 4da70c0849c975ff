"""The archive: names, captions, the same bytes for the same content, and the limit on its real size."""

from __future__ import annotations

import os
import random
import stat
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from daemon.errors import ArchiveTooLarge, DatasetUnreadable
from daemon.replicate.dataset import archive as module
from daemon.replicate.dataset import reading
from daemon.replicate.dataset.archive import Archive, Stopped, pack
from daemon.replicate.outgoing import Dataset

MIB = 2**20


def packed(folder: Path, target: Path, **options: Any) -> tuple[Archive, dict[str, bytes]]:
    made = pack([Dataset("00-cats", str(folder), **options)], target)
    assert made.path.stat().st_size == made.bytes
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        return made, {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    folder = tmp_path / "cats"
    (folder / "more").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"A")
    (folder / "a.txt").write_text("a cat,\n sitting / asleep")
    (folder / "more" / "a.png").write_bytes(b"B")
    (folder / "more" / "a.txt").write_text("another cat")
    (folder / "meta.jsonl").write_text("{}")
    return folder


def test_file_names_as_captions_stay_as_they_are(cats: Path, tmp_path: Path) -> None:
    made, content = packed(cats, tmp_path / "z.zip")
    assert content.keys() == {
        *("00-cats/a.png", "00-cats/a.txt", "00-cats/more/a.png", "00-cats/more/a.txt", "00-cats/meta.jsonl")
    }
    assert made.files == 5
    assert made.notes == ()


def test_text_files_become_file_names_and_go_along(cats: Path, tmp_path: Path) -> None:
    _, content = packed(cats, tmp_path / "z.zip", captions="textfile")
    assert content == {
        "00-cats/a cat, sitting asleep.png": b"A",
        "00-cats/a cat, sitting asleep.txt": b"a cat,\n sitting / asleep",
        "00-cats/more/another cat.png": b"B",
        "00-cats/more/another cat.txt": b"another cat",
        "00-cats/meta.jsonl": b"{}",
    }


def test_one_caption_for_many(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.JPG"):
        (folder / name).write_bytes(name.encode())
        (folder / name).with_suffix(".txt").write_text("a cat")
    _, content = packed(folder, tmp_path / "z.zip", captions="textfile")
    images = {name for name in content if not name.endswith(".txt")}
    assert images == {"00-cats/a cat.png", "00-cats/2/a cat.png", "00-cats/a cat.jpg"}
    _, content = packed(folder, tmp_path / "z.zip", captions="instanceprompt", prompt="photo of sks cat")
    assert {Path(name).stem for name in content if name.endswith((".png", ".jpg"))} == {"photo of sks cat"}


def test_captions_that_are_missing_long_or_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").write_bytes(name.encode())
    (folder / "a.txt").write_text("eine süße Katze " * 1000)
    (folder / "b.txt").write_bytes(b"\xef\xbb\xbf")
    made, content = packed(folder, tmp_path / "z.zip", captions="textfile")
    assert "captions of 1 files are cut" in made.notes[0]
    assert "2 files have no caption" in made.notes[1]
    (long,) = (name for name in content if name.endswith(".png") and "Katze" in name)
    assert 200 < len(Path(long).name.encode()) <= 240
    assert len(content[long.replace(".png", ".txt")]) > 16_000
    assert {"00-cats/b.png", "00-cats/c.png"} <= content.keys()
    (folder / "a.txt").write_bytes(b"caf\xe9 cat")
    with pytest.raises(DatasetUnreadable, match="not UTF-8"):
        packed(folder, tmp_path / "z.zip", captions="textfile")


def test_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    odd = [
        b"caf\xe9.png",
        b"caf\xe8.png",
        b"new\nline.png",
        b"back\\slash.png",
        b"A.png",
        b"a.png",
        b"x" * 251 + b".png",
        b" .png",
    ]
    for name in odd:
        (folder / os.fsdecode(name)).write_bytes(name)
    _, content = packed(folder, tmp_path / "z.zip")
    assert sorted(content.values()) == sorted(odd)
    for name in content:
        assert name.isprintable()
        assert ".." not in name.split("/")
        assert "\\" not in name
        assert max(len(part.encode()) for part in name.split("/")) <= 240
    assert len({name.casefold() for name in content}) == len(odd)


def test_equal_content_gives_equal_bytes(cats: Path, tmp_path: Path) -> None:
    first, _ = packed(cats, tmp_path / "1.zip")
    os.utime(cats / "a.png", (0, 0))  # 1970: before what a zip can hold
    (cats / "a.txt").chmod(0o600)
    second, _ = packed(cats, tmp_path / "2.zip")
    assert (first.sha256, first.bytes) == (second.sha256, second.bytes)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    (cats / "a.png").write_bytes(b"C")
    assert packed(cats, tmp_path / "3.zip")[0].sha256 != first.sha256
    with zipfile.ZipFile(tmp_path / "2.zip") as archive:
        modes = {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()}
        assert modes == {0o644}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_150_mib_of_text_are_few(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"A")
    noise = random.Random(1).randbytes(700_000)
    with (folder / "captions.jsonl").open("wb") as file:
        for _ in range(15):
            file.write(noise + b"a photo of a cat\n" * (10 * MIB // 17 - 40_000))
    assert (folder / "captions.jsonl").stat().st_size > 145 * MIB
    made, _ = packed(folder, tmp_path / "z.zip", captions="textfile")
    assert 9 * MIB < made.bytes < 12 * MIB


def test_101_mib_of_noise_are_too_many(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    for number in range(101):
        (folder / f"{number:03d}.png").write_bytes(random.Random(number).randbytes(MIB))
    (folder / "big.png").write_bytes(random.Random(7).randbytes(2 * MIB))
    with pytest.raises(ArchiveTooLarge, match=r"103\.0 MiB.*big\.png \(2\.0 MiB\).*https://"):
        packed(folder, tmp_path / "z.zip")
    assert (tmp_path / "z.zip").stat().st_size <= 100 * MIB
    for number in range(4):
        (folder / f"{number:03d}.png").unlink()
    made, _ = packed(folder, tmp_path / "z.zip")
    assert 99 * MIB < made.bytes < 100 * MIB


def test_the_limit_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(random.Random(1).randbytes(5000))
    made, _ = packed(tmp_path / "cats", tmp_path / "z.zip")
    monkeypatch.setattr(module, "ARCHIVE_LIMIT", made.bytes)
    assert packed(tmp_path / "cats", tmp_path / "z.zip")[0] == made
    monkeypatch.setattr(module, "ARCHIVE_LIMIT", made.bytes - 1)
    with pytest.raises(ArchiveTooLarge):
        packed(tmp_path / "cats", tmp_path / "z.zip")


def test_far_over_the_limit_is_not_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ARCHIVE_LIMIT", MIB)
    (tmp_path / "a.png").write_bytes(random.Random(1).randbytes(2 * MIB))
    with (tmp_path / "b.png").open("wb") as file:
        file.truncate(2 * 2**40)  # sparse: reading it would take hours
    with pytest.raises(ArchiveTooLarge, match=r"more than 1\.0 MiB"):
        pack([Dataset("00-cats", str(tmp_path))], tmp_path / "z")


@pytest.mark.parametrize("change", ["grow", "replace", "vanish", "link"])
def test_a_file_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    file = folder / "a.png"
    file.write_bytes(b"A" * 1000)
    (tmp_path / "other.png").write_bytes(b"B" * 1000)
    listed = module.list_folder

    def then_change(path: str) -> Any:
        found = listed(path)
        if change == "grow":
            file.write_bytes(b"A" * 2000)
        elif change == "replace":
            (tmp_path / "other.png").replace(file)
        else:
            file.unlink()
        if change == "link":
            file.symlink_to(tmp_path / "other.png")
        return found

    monkeypatch.setattr(module, "list_folder", then_change)
    with pytest.raises(DatasetUnreadable, match=r"a\.png"):
        packed(folder, tmp_path / "z.zip")


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"A")
    (found,) = module.list_folder(str(tmp_path)).files
    context = reading.opened(found)
    assert context.__enter__().read() == b"A"
    (tmp_path / "a.png").write_bytes(b"AB")
    with pytest.raises(DatasetUnreadable, match="changed while"):
        context.__exit__(None, None, None)


def test_packing_can_be_stopped(cats: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        pack([Dataset("00-cats", str(cats))], tmp_path / "z.zip", stop)
