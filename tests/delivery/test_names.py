"""Names from outside: one harmless path component each."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.errors import Permanent
from daemon.delivery.names import MAX_BYTES, check_component, safe_name, unique_names


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("out.png", "out.png"),
        ("../../etc/passwd", "passwd"),
        ("..", "output"),
        ("", "output"),
        ("/", "output"),
        ("a/", "a"),
        ("C:\\Windows\\win.ini", "win.ini"),
        (".bashrc", "bashrc"),
        ("...x", "x"),
        ("a..b", "a.b"),
        ("a\x00b\r\nc\x1b[31m.png", "abc[31m.png"),
        ("gnp\u202e.exe", "gnp.exe"),
        ("con", "_con"),
        ("NUL.tar.gz", "_NUL.tar.gz"),
        ("com1.txt", "_com1.txt"),
        ("console.log", "console.log"),
        ('a<b>:"|?*.png', "a_b______.png"),
        ("trailing. ", "trailing"),
        ("two  blanks\u2003here.png", "two blanks here.png"),
        ("café.png", "café.png"),
        ("cafe\u0301.png", "café.png"),
        ("x" * 300 + ".safetensors", "x" * (MAX_BYTES - 12) + ".safetensors"),
        ("ü" * 150, "ü" * 100),
    ],
)
def test_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_unique_whatever_the_case_and_never_the_manifest() -> None:
    assert unique_names(["out.png", "out.png", "OUT.PNG", "out-2.png", "manifest.json", "Manifest.JSON"]) == [
        "out.png",
        "out-2.png",
        "OUT-3.PNG",
        "out-2-2.png",
        "manifest-2.json",
        "Manifest-3.JSON",
    ]
    long = unique_names(["y" * 300 + ".tar"] * 12)
    assert len(set(long)) == 12 and all(len(name) <= MAX_BYTES and name.endswith(".tar") for name in long)


@given(st.lists(st.text(), max_size=8))
def test_any_text_becomes_one_component(raw: list[str]) -> None:
    found = unique_names(raw)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(raw)
    for name in found:
        assert 0 < len(name.encode()) <= MAX_BYTES
        assert Path("/folder", name).parent == Path("/folder") and ".." not in name
        assert not name.startswith(".") and "\\" not in name and name.isprintable()
        assert name.casefold() != "manifest.json"


@pytest.mark.parametrize("job_id", ["", ".", "..", "a/b", "a\\b", ".hidden", "a..b", "a.", "x" * 129, "a\n", "ä"])
def test_a_job_id_that_is_no_folder_name(job_id: str) -> None:
    with pytest.raises(Permanent):
        check_component(job_id)


def test_job_ids_of_ours() -> None:
    assert check_component("job_ufawqhfynnddngldkgtslldrkq") == "job_ufawqhfynnddngldkgtslldrkq"
