"""What of a folder goes along, what stays and is named, and what is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from daemon.errors import DatasetEmpty, DatasetUnreadable
from daemon.replicate.dataset.listing import list_folder

IMAGES = ["a.PNG", "b.jpg", "c.jpeg", "d.webp", "e.avif", "f.bmp", "g.tiff"]
SENT = [*IMAGES, "h.mp4", "i.mov", "j.webm", "k.txt", "l.caption", "m.json", "n.jsonl", "o.csv", "p.parquet"]


def test_what_goes_along_and_what_stays(tmp_path: Path) -> None:
    stays = {
        ".env": "hidden",
        ".git/config": "hidden",
        "server.key": "it may hold a secret",
        "cert.PEM": "it may hold a secret",
        "id_rsa": "it may hold a secret",
        "aws-credentials.json": "it may hold a secret",
        "Thumbs.db": "kept by other programs",
        "__MACOSX/x.png": "kept by other programs",
        "notes.md": "not of a kind that a trainer reads",
        "aspect_ratio_bucket_indices_cats.json": "a cache of the trainer",
    }
    for name in [*SENT, "sub/q.png", *stays]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listing = list_folder(str(tmp_path))
    assert [file.relative for file in listing.files] == [*SENT, "sub/q.png"]
    named = {item.name.rstrip("/"): item.reason for item in listing.left_out}
    assert named == {name.split("/")[0]: reason for name, reason in stays.items()}


def test_a_caption_about_tokens_is_no_secret(tmp_path: Path) -> None:
    for name in ("game tokens.txt", "a key.txt", "token.png"):
        (tmp_path / name).write_bytes(b"x")
    assert not list_folder(str(tmp_path)).left_out


def test_links_inside_the_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "a.png").write_bytes(b"A")
    (folder / "b.png").symlink_to(folder / "real" / "a.png")
    (folder / "again").symlink_to(folder / "real")
    (tmp_path / "shortcut").symlink_to(folder)
    listing = list_folder(str(tmp_path / "shortcut"))
    assert [file.relative for file in listing.files] == ["b.png", "real/a.png"]
    assert [item.name for item in listing.left_out] == ["again"]


def _out(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes(b"S")
    (folder / "x.png").symlink_to(folder.parent / "secret.png")


def _out_folder(folder: Path) -> None:
    (folder / "x").symlink_to("/etc")


def _hidden(folder: Path) -> None:
    (folder / ".env").write_bytes(b"S")
    (folder / "x.txt").symlink_to(folder / ".env")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "x.png"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_out, "leads out"),
        (_out_folder, "leads out"),
        (_hidden, "a link to .env"),
        (lambda folder: (folder / "x").symlink_to(folder), "in circles"),
        (lambda folder: (folder / "x.png").symlink_to(folder / "x.png"), "circles|Too many levels"),
        (lambda folder: (folder / "x.png").symlink_to(folder / "gone.png"), "No such file"),
        (lambda folder: os.mkfifo(folder / "x.png"), "pipe"),
        (_socket, "pipe"),
    ],
)
def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: object, words: str) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"A")
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(DatasetUnreadable, match=words) as caught:
        list_folder(str(folder))
    assert "x" in caught.value.detail


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"A")
    for folder, words in ((file, "Not a directory"), (tmp_path / "gone", "No such file"), (Path("/\0"), "null")):
        with pytest.raises(DatasetUnreadable, match=words):
            list_folder(str(folder))


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DatasetEmpty, match="no images"):
        list_folder(str(tmp_path))
    (tmp_path / "a.txt").write_text("a cat")
    (tmp_path / ".a.png").write_bytes(b"A")
    with pytest.raises(DatasetEmpty, match="2 other files"):
        list_folder(str(tmp_path))


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir(mode=0o000)
    is_root = os.geteuid() == 0
    if is_root:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(DatasetUnreadable, match="Permission denied"):
            list_folder(str(tmp_path / "x"))
    finally:
        if is_root:
            os.seteuid(0)
