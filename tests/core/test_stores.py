"""Addresses of repositories and buckets, taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.stores import HubFile, S3Object, output_origins, parse


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("hf://me/lora/a/model.safetensors", HubFile("me/lora", "main", "a/model.safetensors")),
        ("hf://models/me/lora/x", HubFile("me/lora", "main", "x")),
        ("hf://me/lora@v1/x", HubFile("me/lora", "v1", "x")),
        ("hf://me/lora", HubFile("me/lora", "main", "")),
        ("https://huggingface.co/me/lora", HubFile("me/lora", "main", "")),
        ("https://huggingface.co/me/lora/resolve/main/a%20b.bin", HubFile("me/lora", "main", "a b.bin")),
        ("https://huggingface.co/me/lora/blob/abc/x.bin", HubFile("me/lora", "abc", "x.bin")),
        ("s3://my-bucket/a/b.bin", S3Object("my-bucket", "a/b.bin")),
        ("https://huggingface.co/me/lora/resolve/main/../../../other/private/resolve/main/x", None),
        ("https://huggingface.co/me/lora/resolve/main/%2e%2e/x", None),
        ("https://huggingface.co/me/lora/resolve/main/x?download=1", None),
        ("https://huggingface.co.evil.example/me/lora", None),
        ("https://user@huggingface.co/me/lora", None),
        ("http://huggingface.co/me/lora", None),
        ("https://huggingface.co/api/models/me/lora/x", None),
        ("hf://datasets/me/lora/x", None),
        ("hf://me/lora/../../other/x", None),
        ("hf://me/lora@../x", None),
        ("hf://me", None),
        ("s3://my-bucket/../other/x", None),
        ("s3://my-bucket/a\\b", None),
        ("s3://My_Bucket/x", None),
        ("s3://my-bucket/", None),
        ("s3://key:secret@my-bucket/x", None),
        ("https://replicate.delivery/x", None),
        ("data:,x", None),
    ],
)
def test_parse(url: str, found: HubFile | S3Object | None) -> None:
    assert parse(url) == found


@given(st.text(max_size=60), st.sampled_from(["hf://", "s3://", "https://huggingface.co/", ""]))
def test_any_text_gives_an_answer(text: str, start: str) -> None:
    found = parse(start + text)
    if isinstance(found, HubFile):
        assert found.repo.count("/") == 1 and ".." not in found.path.split("/")
    if isinstance(found, S3Object):
        assert found.key and ".." not in found.key.split("/")


def test_the_setting() -> None:
    given = "https://Files.example.com, hf://me/lora/, s3://bucket/models"
    assert output_origins(given) == ("https://files.example.com", "hf://me/lora", "s3://bucket/models")
    for wrong in ("hf://me", "s3://", "s3://B/x", "s3://bucket/../x", "ftp://x", "https://x/y"):
        with pytest.raises(ValueError, match=r"."):
            output_origins(wrong)
