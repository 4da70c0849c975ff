"""What a dataloader configuration (SimpleTuner's ``multidatabackend.json``) comes to: data to bring along, or to name.

Facts of the trainer (SimpleTuner's Cog predictor): ``images`` is an archive that it unpacks and reads by a dataloader
of its own making (images, file names as captions); it does so only where no ``dataloader_json`` is given, into a folder
whose name nobody knows before. So local folders and a dataloader configuration exclude each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ...errors import ConfigInvalid, DatasetEmpty, DatasetUnreadable
from ..outgoing import Dataset

FIELD = "dataloader_config"
_CAPTIONS = frozenset({"filename", "textfile", "instanceprompt"})
_PACKED_KINDS = frozenset({"image", "video", "audio"})  # values of dataset_type
_SETTINGS = ("resolution", "resolution_type")  # taken from the training configuration by the trainer's own dataloader
# Keys of a local backend that do their work here, or that have nothing to do where the trainer makes its own.
_DONE_HERE = frozenset(
    {"id", "type", "dataset_type", "instance_data_dir", "caption_strategy", "instance_prompt", *_SETTINGS}
)
_CACHE = re.compile(r"cache_dir.*|.*_cache_dir|cache")
# An absolute path, or one below a home: on Unix, as a file URL, on Windows.
_PATH = re.compile(r"(~[^/\s]*)?/[^/\s][^\n]*|~|file:.*|[A-Za-z]:[\\/].*|\\\\.*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")

# The trainer insists on these keys, though not on values.
_AWS = dict.fromkeys(("aws_region_name", "aws_endpoint_url", "aws_access_key_id", "aws_secret_access_key"))

Backend = dict[str, Any]


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """At most one of ``datasets``, ``images`` and ``dataloader`` says something."""

    datasets: tuple[Dataset, ...] = ()  # folders to pack
    images: str | None = None  # the URL of an archive
    dataloader: list[Backend] | None = None  # to be sent
    settings: dict[str, Any] = {}  # for the training configuration, where it says nothing itself
    notes: tuple[str, ...] = ()


def read_dataloader(dataloader: Any) -> Data:
    """Raises ``ConfigInvalid`` for another shape, ``DatasetUnreadable`` where local data cannot be brought along, and
    ``DatasetEmpty`` where there is none.
    """
    backends = [dataloader] if isinstance(dataloader, dict) else dataloader
    if not isinstance(backends, list) or not all(isinstance(backend, dict) for backend in backends):
        raise ConfigInvalid("`dataloader_config` must be a list of objects.", field=FIELD)
    backends = [backend for backend in backends if not (backend.get("disabled") or backend.get("disable"))]
    local, archives, remote = _sorted_out(backends)
    if not (local or archives or remote):
        raise DatasetEmpty(
            "`dataloader_config` names nothing to train on: an entry with instance_data_dir is needed that is not "
            "disabled. Nothing was sent.",
            field=FIELD,
        )
    if (local and (archives or remote)) or (archives and remote) or len(archives) > 1:
        raise DatasetUnreadable(
            "`dataloader_config` mixes local folders, archives at a URL and remote data; the trainer takes one archive "
            "or a dataloader configuration, not both. Submit one of them.",
            field=FIELD,
        )
    if local:
        datasets = tuple(_dataset(backend, number) for number, backend in enumerate(local))
        settings, notes = _settings(local)
        return Data(datasets=datasets, settings=settings, notes=(*notes, *_without_effect(local)))
    if archives:
        settings, notes = _settings(archives)
        url = _archive_url(archives[0]["instance_data_dir"])
        return Data(images=url, settings=settings, notes=(*notes, *_without_effect(archives), *_captions(archives)))
    sent = [_remote(backend, number) for number, backend in enumerate(backends)]
    for key in local_paths(sent):
        raise DatasetUnreadable(
            f"`dataloader_config` names {key} on this machine, which the trainer cannot read. "
            "Only instance_data_dir of a local backend is packed and uploaded.",
            field=FIELD,
        )
    return Data(dataloader=sent, notes=tuple(_credentials(sent)))


def local_paths(value: Any, key: str = "a path", *, prose: bool = False) -> Iterator[str]:
    """The keys, at any depth, under which a path of this machine stands: none may leave it.

    The trainer could not read it, and it tells about the user. ``prose``: texts with blanks are prompts, not paths.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from local_paths(item, str(name), prose=prose)
    elif isinstance(value, list):
        for item in value:
            yield from local_paths(item, key, prose=prose)
    elif isinstance(value, str) and _PATH.fullmatch(value) and not (prose and re.search(r"\s", value)):
        yield key


def _sorted_out(backends: Sequence[Backend]) -> tuple[list[Backend], list[Backend], list[Backend]]:
    """``(local folders, archives at a URL, data elsewhere)``; caches of embeddings are none of them."""
    local: list[Backend] = []
    archives: list[Backend] = []
    remote: list[Backend] = []
    for backend in backends:
        where = backend.get("instance_data_dir")
        scheme = _scheme(where)
        if scheme in {"https", "http"}:
            archives.append(backend)
        elif scheme == "s3":
            remote.append(backend)
        elif scheme not in {None, "file"}:
            raise DatasetUnreadable(f"instance_data_dir {where!r}: only https:// and s3:// are known.", field=FIELD)
        elif backend.get("type", "local") not in {"local", None, ""}:
            if not str(backend.get("dataset_type", "image")).endswith("embeds"):
                remote.append(backend)
        elif where:
            local.append(backend)
    return local, archives, remote


def _scheme(where: Any) -> str | None:
    found = _SCHEME.match(where) if isinstance(where, str) else None
    return found[1].lower() if found else None


def _dataset(backend: Backend, number: int) -> Dataset:
    directory, captions = backend["instance_data_dir"], backend.get("caption_strategy") or "filename"
    if not isinstance(directory, str) or not Path(directory).is_absolute():
        raise DatasetUnreadable(
            f"instance_data_dir {directory!r}: an absolute path is needed, the daemon has no current folder of yours.",
            field=FIELD,
        )
    kind = backend.get("dataset_type") or "image"
    linked = next((key for key in ("conditioning", "conditioning_data", "source_dataset_id") if backend.get(key)), None)
    if kind not in _PACKED_KINDS or linked:
        raise DatasetUnreadable(
            f"dataset {_name(backend)!r}: {linked or f'dataset_type {kind!r}'} does not survive the upload; the "
            "trainer reads an uploaded archive as plain images. Put the data on S3 or the Hugging Face Hub.",
            field=FIELD,
        )
    prompt = backend.get("instance_prompt")
    if captions not in _CAPTIONS or (captions == "instanceprompt" and not (isinstance(prompt, str) and prompt.strip())):
        raise DatasetUnreadable(
            f"caption_strategy {captions!r} does not survive the upload; use filename, textfile, or instanceprompt "
            "with an instance_prompt.",
            field=FIELD,
        )
    used = prompt.strip() if captions == "instanceprompt" and isinstance(prompt, str) else ""
    return Dataset(name=f"{number:02d}-{_name(backend)}", path=directory, captions=captions, prompt=used)


def _name(backend: Backend) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(backend.get("id") or "")).strip(".-")[:80] or "dataset"


def _archive_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        valid = False
    if not valid or " " in url or "@" in urlsplit(url).netloc:
        raise DatasetUnreadable(
            f"{url!r} is no URL that the trainer can fetch an archive from: https://HOST/… without user and password "
            "is expected.",
            field=FIELD,
        )
    return url


def _remote(backend: Backend, number: int) -> Backend:
    """The backend as it is sent: ``s3://`` spelt out, caches at a place of the trainer's."""
    sent = {key: _moved_cache(key, value, f"{number:02d}-{_name(backend)}") for key, value in backend.items()}
    where = backend.get("instance_data_dir")
    if _scheme(where) != "s3":
        return sent
    bucket, _, prefix = str(where)[len("s3://") :].partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise DatasetUnreadable(f"{where!r}: s3://BUCKET/PREFIX is expected.", field=FIELD)
    del sent["instance_data_dir"]
    return {**_AWS, **sent, "type": "aws", "aws_bucket_name": bucket, "aws_data_prefix": prefix}


def _moved_cache(key: str, value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {inner: _moved_cache(inner, item, name) for inner, item in value.items()}
    return (
        f"cache/{name}/{key}" if isinstance(value, str) and _CACHE.fullmatch(key) and _PATH.fullmatch(value) else value
    )


def _settings(backends: Sequence[Backend]) -> tuple[dict[str, Any], list[str]]:
    """What all backends agree on, for the training configuration."""
    settings, notes = dict[str, Any](), []
    for key in _SETTINGS:
        given = [backend[key] for backend in backends if backend.get(key) is not None]
        if given and all(value == given[0] for value in given):
            settings[key] = given[0]
        elif given:
            notes.append(f"The datasets differ in {key}; an uploaded archive has one, that of the configuration.")
    return settings, notes


def _without_effect(backends: Sequence[Backend]) -> Iterator[str]:
    for backend in backends:
        lost = sorted(key for key in backend if key not in _DONE_HERE and not _CACHE.fullmatch(key))
        if lost:
            yield (
                f"{_name(backend)}: without effect, as the trainer makes its own dataloader for an archive: "
                f"{', '.join(lost)}."
            )


def _captions(backends: Sequence[Backend]) -> Iterator[str]:
    for backend in backends:
        if backend.get("caption_strategy") not in {None, "filename"}:
            yield f"{_name(backend)}: the trainer takes the captions of an archive from its file names."


def _credentials(sent: Sequence[Backend]) -> Iterator[str]:
    for backend in sent:
        if backend.get("type") == "aws" and not backend.get("aws_access_key_id"):
            yield f"{_name(backend)}: aws_access_key_id and aws_secret_access_key are not given; the trainer has none."
