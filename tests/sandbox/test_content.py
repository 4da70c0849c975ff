from __future__ import annotations

import hashlib
import json
import struct

import pytest

from daemon.sandbox.content import BLOCK_BYTES, Content, content_sha256


@pytest.mark.parametrize("size", [0, 1, 7, 136, 137, 5000, BLOCK_BYTES + 9, 3 * BLOCK_BYTES])
@pytest.mark.parametrize("name", ["model.safetensors", "out.png"])
def test_any_range_is_a_part_of_the_whole(name: str, size: int) -> None:
    content = Content(0, name, size)
    whole = content.read()
    assert len(whole) == size
    for start, stop in ((0, size // 2), (size // 3, size), (size - 1, size), (140, 150), (BLOCK_BYTES - 1, size)):
        if 0 <= start < stop:
            assert b"".join(content.chunks(start, stop, limit=1000)) == whole[start:stop]
    assert content.digest("sha256") == hashlib.sha256(whole).hexdigest() == content_sha256(name, size)


def test_seed_name_and_size_tell_files_apart() -> None:
    variants = [Content(0, "a", 500), Content(1, "a", 500), Content(0, "b", 500)]
    assert len({each.digest("md5") for each in variants}) == 3


def test_blocks_differ() -> None:
    whole = Content(0, "a", 2 * BLOCK_BYTES).read()
    assert whole[:BLOCK_BYTES] != whole[BLOCK_BYTES:]


def test_safetensors_have_a_valid_header() -> None:
    whole = Content(0, "model.safetensors", 10_000).read()
    (length,) = struct.unpack("<Q", whole[:8])
    tensor = json.loads(whole[8 : 8 + length])["lora_unet.weight"]
    assert tensor["data_offsets"] == [0, 10_000 - 8 - length]


def test_crc32c_is_castagnoli() -> None:
    class Digits(Content):
        def chunks(self, *_: object, **__: object):  # type: ignore[no-untyped-def]
            yield b"123456789"

    assert Digits(0, "x", 9).crc32c() == 0xE3069283  # the check value of CRC-32C
