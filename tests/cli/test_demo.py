"""The demo: the whole loop, and nothing left running."""

from __future__ import annotations

import hashlib
import re
import signal
import struct
import zlib
from pathlib import Path

import pytest

from daemon.cli.children import Child
from daemon.cli.demo_data import IMAGES, SIDE, write_dataset
from daemon.cli.exits import Failed
from tests.cli.conftest import Program, Result


def processes_naming(text: str) -> list[str]:
    """Command lines of running processes that hold ``text``."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if text in line:
            found.append(line)
    return found


def delivered(result: Result) -> list[str]:
    """The file that the demo printed, checked against the digest beside it; its folder; what the logs there say."""
    (found,) = re.findall(r"^  (/\S+)  [^\n]*\n  sha256 ([0-9a-f]{64})$", result.out, re.MULTILINE)
    assert hashlib.sha256(Path(found[0]).read_bytes()).hexdigest() == found[1]
    kept = re.search(r"Everything is kept in ([^\s;]+)", result.out)
    assert kept is not None and Path(found[0]).is_relative_to(kept[1])
    return [found[0], kept[1], "".join(path.read_text() for path in Path(kept[1]).glob("*.log"))]


async def test_the_demo(tunerd, tmp_path: Path) -> None:
    secrets = {"REPLICATE_API_TOKEN": "r8_of_the_user", "TUNERD_NO_SUCH": "1", "TUNERD_URL": "http://127.0.0.1:9"}
    result = await tunerd("demo", TMPDIR=str(tmp_path), **secrets)
    assert result.code == 0, result.out + result.err
    assert re.search(r"^daemon, web page +http://127\.0\.0\.1:\d+/$", result.out, re.MULTILINE)
    assert "step 100/100" in result.err and "loss" in result.err
    _, folder, logs = delivered(result)
    assert "r8_of_the_user" not in logs
    assert processes_naming(folder) == []


async def test_a_kept_demo_ends_with_ctrl_c(start: Program, tmp_path: Path) -> None:
    started = await start("demo", "--keep", TMPDIR=str(tmp_path))
    while "stays up" not in (line := await started.line()):
        assert line is not None and started.process.returncode is None
    assert processes_naming(str(tmp_path)) != []
    started.process.send_signal(signal.SIGINT)
    assert (await started.result()).code == 0
    assert processes_naming(str(tmp_path)) == []


async def test_an_interrupted_demo_leaves_nothing_running(start: Program, tmp_path: Path) -> None:
    started = await start("demo", TMPDIR=str(tmp_path))
    while not (await started.line()).startswith("job "):
        assert started.process.returncode is None
    started.process.send_signal(signal.SIGTERM)
    assert (await started.result()).code == 130
    assert processes_naming(str(tmp_path)) == []


def test_the_dataset_is_real_images(tmp_path: Path) -> None:
    assert write_dataset(tmp_path / "discs") == 2 * IMAGES
    images = sorted((tmp_path / "discs").glob("*.png"))
    assert len(images) == IMAGES
    for image in images:
        content = image.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        place, pixels = 8, b""
        while place < len(content):
            (size,) = struct.unpack_from(">I", content, place)
            kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
            assert struct.unpack_from(">I", content, place + 8 + size)[0] == zlib.crc32(kind + data)
            pixels += data if kind == b"IDAT" else b""
            place += 12 + size
        assert len(zlib.decompress(pixels)) == SIDE * (1 + 3 * SIDE)
        assert image.with_suffix(".txt").read_text().startswith("a ")


def test_a_child_that_does_not_come_up_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = Child("daemon", ["serve", "--listen", "nonsense"], tmp_path, {})
    child.stop()  # before its start: harmless
    child.start()
    with pytest.raises(Failed, match=r"ended before it was ready \(exit code 78\)\."):
        child.line("tunerd ready on ", 30)
    child.stop()
    child.stop()
    assert "nonsense" in child.last_words()


def test_a_child_that_takes_too_long(tmp_path: Path) -> None:
    child = Child("sandbox", ["sandbox", "--listen", "127.0.0.1:0"], tmp_path, {})
    child.start()
    with pytest.raises(Failed, match=r"not ready after 0\.01 s"):
        child.line("never said", 0.01)
    child.stop()
    assert processes_naming(str(tmp_path)) == []
