"""Folders from the browser: what may be written where, and how much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.errors import BodyTooLarge, InvalidRequest, NotFound, NotReady
from daemon.web import uploads
from daemon.web.uploads import Uploads
from tests.support.webapp import running_app

NOW = 1_767_300_000.0


@pytest.fixture
def store(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", lambda: NOW)


def test_slices_make_a_file(store: Uploads) -> None:
    upload_id, folder = store.begin()
    assert store.write(upload_id, "cats/one.png", 0, b"abc") == 3
    assert store.write(upload_id, "cats/one.png", 3, b"de") == 5
    assert (folder / "cats/one.png").read_bytes() == b"abcde"
    assert store.write(upload_id, "cats/one.png", 0, b"x") == 1  # anew
    with pytest.raises(InvalidRequest, match="1 is expected"):
        store.write(upload_id, "cats/one.png", 3, b"y")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "cats/one.png").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".", "a\0b", "a\nb", "a\\b", "/".join("abcdefghi"), "x" * 201],
)
def test_nothing_leads_out_of_the_folder(store: Uploads, tmp_path: Path, name: str) -> None:
    upload_id, _ = store.begin()
    with pytest.raises(InvalidRequest):
        store.write(upload_id, name, 0, b"x")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_is_not_followed(store: Uploads, tmp_path: Path) -> None:
    upload_id, folder = store.begin()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotReady):
        store.write(upload_id, "link", 0, b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_has_an_end(store: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 10)
    upload_id, _ = store.begin()
    store.write(upload_id, "a", 0, b"x" * 8)
    with pytest.raises(BodyTooLarge):
        store.write(upload_id, "b", 0, b"x" * 3)
    restarted = Uploads(store._folder, lambda: NOW)
    with pytest.raises(BodyTooLarge):
        restarted.write(upload_id, "b", 0, b"x" * 3)


def test_a_file_that_is_begun_again_counts_once(store: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 10)
    monkeypatch.setattr(uploads, "MOST_FILES", 2)
    upload_id, folder = store.begin()
    for _ in range(5):
        store.write(upload_id, "a", 0, b"x" * 4)
        assert store.write(upload_id, "a", 4, b"x" * 4) == 8
    store.write(upload_id, "b", 0, b"xx")
    assert sorted(path.stat().st_size for path in folder.iterdir()) == [2, 8]
    with pytest.raises(BodyTooLarge):
        store.write(upload_id, "b", 0, b"xxx")


def test_old_ones_go_when_a_new_one_begins(store: Uploads) -> None:
    (old, old_folder), (_, kept) = store.begin(), store.begin()
    os.utime(old_folder, (NOW - uploads.KEPT_SECONDS - 1,) * 2)
    os.utime(kept, (NOW - 60,) * 2)
    store.begin()
    assert not old_folder.exists() and kept.exists()
    for unknown in (old, "..", "x" * 32):
        with pytest.raises(NotFound):
            store.write(unknown, "a", 0, b"x")


async def test_over_the_api(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        async with served.session.post(served.url + "/api/cloud/uploads") as answer:
            assert answer.status == 201
            begun = await answer.json()
        place = f"{served.url}/api/cloud/uploads/{begun['upload_id']}"
        async with served.session.put(f"{place}/file", params={"name": "a.png", "offset": "0"}, data=b"ab") as answer:
            assert await answer.json() == {"name": "a.png", "bytes": 2}
        assert (Path(begun["path"]) / "a.png").read_bytes() == b"ab"
        for query, status in (({"name": "../a"}, 400), ({}, 400), ({"name": "a.png", "offset": "7"}, 400)):
            async with served.session.put(f"{place}/file", params=query, data=b"ab") as answer:
                assert answer.status == status
        async with served.session.delete(place) as answer:
            assert answer.status == 200
        async with served.session.delete(place) as answer:
            assert answer.status == 404
