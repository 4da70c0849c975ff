"""``hf://owner/repo/file``, the Hub's web addresses, ``s3://bucket/key``: taken apart. Any text gives an answer."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from ..parsing import items, origins
from .hub_names import hub_repo

HUB = "https://huggingface.co"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class HubFile(msgspec.Struct, frozen=True):
    """A file of a model repository. ``path`` is empty where the address names the repository alone."""

    repo: str  # owner/name
    revision: str
    path: str


class S3Object(msgspec.Struct, frozen=True):
    bucket: str
    key: str


def parse(url: str, hubs: frozenset[str] = frozenset({HUB})) -> HubFile | S3Object | None:
    """``None``: it is another kind of address, or one that is not plainly written. ``hubs`` are the Hubs' origins."""
    if url[:5].lower() == "s3://":
        bucket, _, key = url[5:].partition("/")
        return S3Object(bucket, key) if _BUCKET.fullmatch(bucket) and _plain(key) else None
    if url[:5].lower() == "hf://":
        return _hub_file(url[5:].removeprefix("models/"))
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" not in hubs or parts.query or parts.fragment:
        return None
    found = re.fullmatch(r"/([^/]+/[^/]+)(?:/(?:resolve|blob|raw)/([^/]+)/(.+))?/?", unquote(parts.path))
    return None if found is None else _made(found[1], found[2] or "main", found[3] or "")


def _hub_file(text: str) -> HubFile | None:
    found = re.fullmatch(r"([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*))?", text)
    return None if found is None else _made(found[1], found[2] or "main", found[3] or "")


def _made(repo: str, revision: str, path: str) -> HubFile | None:
    if repo.partition("/")[0] in {"datasets", "spaces", "models", "api"}:  # no owners, but other things of the Hub
        return None
    try:
        hub_repo(repo)
    except ValueError:
        return None
    return HubFile(repo, revision, path) if _REVISION.fullmatch(revision) and (not path or _plain(path)) else None


def _plain(path: str) -> bool:
    """Whether it is a way down only, without anything that a server may read as another path."""
    return bool(path) and not re.search(r"[\x00-\x1f\x7f\\]", path) and not {"", ".", ".."} & set(path.split("/"))


def output_origins(value: Any) -> tuple[str, ...]:
    """The setting: origins, ``scheme://host[:port]``, and ``hf://owner/repo`` and ``s3://bucket[/prefix]`` beside them.

    Raises ``ValueError`` for anything else.
    """
    found: list[str] = []
    for entry in items(value):
        kind = entry[:5].lower()
        if kind == "hf://":
            found.append(f"hf://{hub_repo(entry[5:].rstrip('/'))}")
        elif kind == "s3://":
            if not isinstance(parse(f"{entry.rstrip('/')}/x"), S3Object):
                raise ValueError(f"{entry!r}: s3://bucket or s3://bucket/prefix is expected")
            found.append(f"s3://{entry[5:]}")
        else:
            found += origins([entry])
    return tuple(found)
