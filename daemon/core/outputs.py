"""Which files an output names, whatever its shape: a URL, a list, a dict, nested mixes, ``data:`` URIs, text, null.

A string is a file when the whole of it is an address; text that merely contains one is text. Total: any input gives
an answer.
"""

from __future__ import annotations

import mimetypes
import re
from typing import Any
from urllib.parse import unquote

import msgspec

from . import lenient_json

# file:, ftp: and the like are in the list so that they are refused with a reason by whoever fetches, and not taken for
# a text. Not every scheme is: a wss:// beside the weights is no file, and must not make their delivery fail.
_ADDRESS = re.compile(
    r"(?:https?|hf|s3|ftps?|sftp|gopher|gs)://\S+|file:/\S+|data:[\w.+-]*(?:/[\w.+-]+)?(?:;[^\s,]*)?,\S*",
    re.ASCII | re.IGNORECASE,
)

# Nothing real is deeper; what is deeper is not looked at.
MAX_DEPTH = 64


class OutputFile(msgspec.Struct, frozen=True):
    """One file to fetch: its address, and the name it would like to have (unsafe: it comes from outside)."""

    url: str
    name: str


def find_files(output_json: bytes | str) -> list[OutputFile]:
    """The files that an output (JSON text) names, in their order, each address once."""
    return walk(lenient_json.value(output_json))


def walk(output: Any) -> list[OutputFile]:
    """The same for a decoded output. No recursion: models choose the nesting."""
    found: dict[str, OutputFile] = {}
    waiting: list[tuple[Any, str, int]] = [(output, "", 0)]  # value, nearest dict key, depth; the next one is last
    while waiting:
        value, key, depth = waiting.pop()
        if isinstance(value, str):
            if is_address(value) and value not in found:
                found[value] = OutputFile(value, suggested_name(value, key))
        elif depth >= MAX_DEPTH:
            continue
        elif isinstance(value, dict):
            waiting.extend((item, str(name), depth + 1) for name, item in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend((item, key, depth + 1) for item in reversed(value))
    return list(found.values())


def is_address(text: str) -> bool:
    """Whether the whole of ``text`` is an address (and not a text that contains one)."""
    return _ADDRESS.fullmatch(text) is not None


def suggested_name(url: str, key: str = "") -> str:
    """The last segment of the URL's path, where it looks like a file name, else the dict key it was found under.

    Some of Replicate's storage URLs all end in ``/file``: there the key (``vocals``) says more. A ``data:`` URI has
    only its media type to name it by.
    """
    if url[:5].lower() == "data:":
        media_type = url[5:].partition(",")[0].partition(";")[0].lower()
        return (key or "output") + (mimetypes.guess_extension(media_type) or "")
    path = re.split(r"[?#]", url.partition("://")[2], maxsplit=1)[0].partition("/")[2]
    segment = unquote(path.rpartition("/")[2])
    return key if key and "." not in segment else segment
