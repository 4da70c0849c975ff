"""Which repositories and buckets a job's output may be read from, and with whose credentials.

An output is text that a model's code chose. With the user's credentials it could name anything that the user may read,
and have it published. So only what the user has named is read: the repository and the bucket of a destination, and
``hf://`` and ``s3://`` entries of TUNERD_OUTPUT_ORIGINS.
"""

from __future__ import annotations

import msgspec

from ...core.stores import HUB, HubFile, S3Object, parse
from ..destinations import huggingface, s3
from ..destinations.base import Package
from ..errors import Permanent
from .reading import HubReader, Reader, S3Reader, refuse_whole


class Repository(msgspec.Struct, frozen=True):
    repo: str
    endpoint: str | None
    token: str | None


class Folder(msgspec.Struct, frozen=True):
    """Of a bucket; every key that begins with ``prefix``."""

    bucket: str
    prefix: str
    options: s3.Options


class Stores:
    """Whose addresses of stores one job's outputs may be read from."""

    def __init__(self, repositories: list[Repository], folders: list[Folder], origins: tuple[str, ...]) -> None:
        """``origins`` is the setting."""
        self._repositories = repositories
        self._folders = folders
        for entry in origins:
            found = parse(entry)
            if isinstance(found, HubFile):
                self._repositories = [*self._repositories, Repository(found.repo, None, None)]
            elif isinstance(found := parse(f"{entry.rstrip('/')}/x"), S3Object):
                prefix = found.key.removesuffix("x")
                self._folders = [*self._folders, Folder(found.bucket, prefix, s3.Options(bucket=found.bucket))]
        own = {one.endpoint.rstrip("/") for one in repositories if one.endpoint}
        # Where the user allows the Hub as a plain origin, its files are fetched without credentials like any other.
        self._hubs = frozenset({HUB, *own} - set(origins))

    def reader(self, url: str) -> Reader | None:
        """How ``url`` is read; ``None``: it is no address of a store. ``Permanent`` with the reason: it may not be."""
        found = parse(url, self._hubs)
        if isinstance(found, HubFile):
            return self._hub(found)
        if isinstance(found, S3Object):
            return self._s3(found)
        if url[:5].lower() in {"hf://", "s3://"}:
            raise Permanent(f"refused {url[:200]!r}: it does not plainly name a file of a repository or bucket")
        return None

    def _hub(self, file: HubFile) -> Reader:
        for one in self._repositories:
            if one.repo == file.repo:
                if not file.path:
                    raise refuse_whole(file)
                return HubReader(file, one.endpoint, one.token)
        raise Permanent(
            f"refused: the Hub repository {file.repo} is not one that a destination of this job publishes to; add "
            f"hf://{file.repo} to TUNERD_OUTPUT_ORIGINS if outputs may come from it"
        )

    def _s3(self, item: S3Object) -> Reader:
        for one in self._folders:
            if one.bucket == item.bucket and item.key.startswith(one.prefix):
                return S3Reader(item, one.options)
        raise Permanent(
            f"refused: s3://{item.bucket}/{item.key[:200]} is not where a destination of this job publishes to; add "
            f"s3://{item.bucket} to TUNERD_OUTPUT_ORIGINS if outputs may come from it"
        )


STORES = frozenset({"huggingface", "s3"})  # types of destinations that can be read from too
NO_STORES = Stores([], [], ())


def of_destination(options: msgspec.Struct, package: Package) -> Repository | Folder | None:
    """What a destination names, for this job."""
    if isinstance(options, huggingface.Options):
        own = package.metadata.get("hub_model_id")  # the user's own word, with the submit
        repo = str(own) if own else package.rendered(options.repo_id)
        return Repository(repo, options.endpoint, options.token)
    if isinstance(options, s3.Options):
        return Folder(options.bucket, options.prefix.partition("{")[0].lstrip("/"), options)
    return None
