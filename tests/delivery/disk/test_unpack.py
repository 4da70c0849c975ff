"""Archives from outside: what is in them comes out, and nothing else happens."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from daemon.delivery.disk import unpack as unpacking
from daemon.delivery.disk.archive import Refused, folder_name
from daemon.delivery.disk.folder import Folder
from daemon.delivery.disk.unpack import Limits, Unpacked, unpack
from daemon.delivery.errors import Retry
from tests.support.outputs import names, sha256

LIMITS = Limits(files=100, bytes=10_000_000)
Member = tuple[str, bytes]


def tar(path: Path, members: list[Member | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def zipped(path: Path, members: list[Member], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def zst(path: Path, members: list[Member]) -> Path:
    plain = tar(path.with_suffix(".plain"), list(members))
    path.write_bytes(zstandard.compress(plain.read_bytes()))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def run(root: Path, archive: Path, limits: Limits = LIMITS, check: Callable[[], None] = lambda: None) -> list[Unpacked]:
    with Folder.opened(root, "job") as folder:
        return unpack(folder, archive, "out", limits, check)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


MEMBERS: list[Member] = [("flux-lora/lora.safetensors", os.urandom(3_000_000)), ("./flux-lora/config.yaml", b"a: 1\n")]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.tar", lambda path: tar(path, [special("flux-lora", tarfile.DIRTYPE), *MEMBERS])),
        ("a.tar.gz", lambda path: tar(path, list(MEMBERS), "w:gz")),
        ("a.tgz", lambda path: tar(path, list(MEMBERS), "w:gz")),
        ("a.tar.bz2", lambda path: tar(path, list(MEMBERS), "w:bz2")),
        ("a.tar.xz", lambda path: tar(path, list(MEMBERS), "w:xz")),
        ("a.tar.zst", lambda path: zst(path, MEMBERS)),
        ("a.ZIP", lambda path: zipped(path, MEMBERS)),
    ],
)
def test_every_kind(tmp_path: Path, root: Path, name: str, make: Callable[[Path], Path]) -> None:
    assert folder_name(name) == "a"
    found = run(root, make(tmp_path / name))
    assert [(file.name, file.bytes, file.sha256) for file in found] == [
        ("flux-lora/config.yaml", 5, sha256(b"a: 1\n")),
        ("flux-lora/lora.safetensors", 3_000_000, sha256(MEMBERS[0][1])),
    ]
    assert (root / "job/out/flux-lora/lora.safetensors").read_bytes() == MEMBERS[0][1]
    assert (root / "job/out/flux-lora/config.yaml").stat().st_mode & 0o777 == 0o644
    assert names(root / "job") == ["out"]


@pytest.mark.parametrize("name", ["model.safetensors", "a.tar.old", ".tar", "zip", "a.7z"])
def test_what_is_no_archive(name: str) -> None:
    assert folder_name(name) is None


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("../evil", b"x")], "leads out"),
        ([("a/../../evil", b"x")], "leads out"),
        ([("/etc/evil", b"x")], "absolute"),
        ([("C:/evil", b"x")], "another system"),
        ([("a\\..\\evil", b"x")], "another system"),
        ([("a", b"1"), ("a", b"2")], "two entries"),
        ([("Model.bin", b"1"), ("model.BIN", b"2")], "upper and lower case"),
        ([("é", b"1"), ("e\u0301", b"2")], "two entries"),
        ([("a", b"1"), ("a/b", b"2")], "a file and a folder"),
        ([("a\x07b", b"1")], "cannot be one everywhere"),
        ([("x" * 201, b"1")], "cannot be one everywhere"),
        ([("d/" * 40 + "f", b"1")], "folders deep"),
        ([("a.", b"1")], "cannot be one everywhere"),
        ([special("l", tarfile.SYMTYPE, "/etc/passwd")], "link or a device"),
        ([special("l", tarfile.SYMTYPE, "inside"), ("l/x", b"1")], "link or a device"),
        ([("a", b"1"), special("h", tarfile.LNKTYPE, "a")], "link or a device"),
        ([special("d", tarfile.CHRTYPE)], "link or a device"),
        ([special("f", tarfile.FIFOTYPE)], "link or a device"),
    ],
)
def test_what_is_refused(tmp_path: Path, root: Path, members: list[Member], says: str) -> None:
    (root / "job/out").mkdir(parents=True)
    (root / "job/out/earlier").write_text("kept")
    with pytest.raises(Refused, match=says):
        run(root, tar(tmp_path / "a.tar", [("first", b"1"), *members]))
    assert names(root / "job") == ["out"] and names(root / "job/out") == ["earlier"]  # whole or not at all
    assert names(root) == ["job"]


def test_links_and_passwords_in_a_zip(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(Refused, match="link or a device"):
        run(root, path)
    zipped(path, [("a", b"secret")])
    content = bytearray(path.read_bytes())
    for header, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + at] |= 1  # says that it is encrypted
    path.write_bytes(content)
    with pytest.raises(Refused, match="encrypted"):
        run(root, path)


def test_bombs(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = zipped(tmp_path / "many.zip", [(f"f{number}", b"") for number in range(101)])
    with pytest.raises(Refused, match="more than 100 entries"):
        run(root, many)
    large = zipped(tmp_path / "large.zip", [("zeros", bytes(20_000_000))])
    with pytest.raises(Refused, match="more than 10 MiB"):
        run(root, large)
    monkeypatch.setattr(unpacking, "FREE_OF_RATIO", 1_000_000)
    with pytest.raises(Refused, match="unpacks to more than"):  # far more than it is itself, whatever may be
        run(root, large, Limits(100, 10**12))
    monkeypatch.setattr(unpacking, "RESERVE", 10**18)
    with pytest.raises(Refused, match="nearly full"):
        run(root, zipped(tmp_path / "a.zip", [("a", b"1")]))
    assert names(root / "job") == []


def test_a_size_that_lies(tmp_path: Path, root: Path) -> None:
    """A zip may say that an entry has ten bytes and hold more: what comes out is counted, and its checksum judged."""
    path = zipped(tmp_path / "a.zip", [("zeros", bytes(500_000))])
    content = bytearray(path.read_bytes())
    for header, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        where = content.index(header) + at
        content[where : where + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(Refused, match="cannot be read"):
        run(root, path)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.zst", "a.zip", "a.tar.xz"])
def test_rubbish(tmp_path: Path, root: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"rubbish" * 1000, os.urandom(5000)):
        path.write_bytes(content)
        with pytest.raises(Refused, match="cannot be read"):
            run(root, path)
    assert names(root / "job") == []


def test_cut_off(tmp_path: Path, root: Path) -> None:
    for make, name in (
        (lambda path: tar(path, list(MEMBERS)), "a.tar"),
        (lambda path: zst(path, MEMBERS), "b.tar.zst"),
    ):
        path = make(tmp_path / name)
        path.write_bytes(path.read_bytes()[:1_000_000])
        with pytest.raises(Refused, match="cannot be read"):
            run(root, path)


def test_given_up_in_the_middle(tmp_path: Path, root: Path) -> None:
    def stop() -> None:
        raise Retry("interrupted")

    with pytest.raises(Retry):
        run(root, tar(tmp_path / "a.tar", list(MEMBERS)), check=stop)
    assert names(root / "job") == []


def test_a_link_in_the_folder_s_place_is_not_followed(tmp_path: Path, root: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("kept")
    (root / "job").mkdir(parents=True)
    (root / "job/out").symlink_to(victim)
    run(root, tar(tmp_path / "a.tar", list(MEMBERS)))
    assert names(victim) == ["precious"] and not (root / "job/out").is_symlink()
