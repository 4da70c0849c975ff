"""A bucket: AWS S3, MinIO, Backblaze B2, Cloudflare R2, OpenStack Swift and what else speaks S3.

An object for each file, its SHA-256 in the metadata, and ``manifest.json`` written last. What is there already is not
sent again; what a killed run left half is ended.
"""

from __future__ import annotations

import hashlib
import mimetypes
import secrets
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ...core import templates
from ...core.options import SECRET, OptionInvalid
from ..errors import Permanent
from ..manifest import manifest
from ..names import MANIFEST
from ..s3.client import make_client
from ..s3.upload import WORKERS, Bucket
from .base import Counter, Package, Place

MAX_LINK_SECONDS = 604_800  # a week: no signature of version 4 lives longer
MAX_KEY_BYTES = 1024


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bucket of AWS S3, MinIO, Backblaze B2, Cloudflare R2, OpenStack Swift, or of another server that speaks S3."""

    TITLE: ClassVar[str] = "S3 bucket"

    bucket: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{1,254}$")],
        Meta(
            title="Bucket",
            description="It has to exist.",
            extra={"hint": "the name of a bucket is expected, without s3:// and without a path"},
        ),
    ]
    prefix: Annotated[
        str,
        Meta(
            title="Prefix",
            description="What the keys begin with, a template. Without `{job_id}` or another name of the job, later "
            "jobs replace earlier ones.",
        ),
    ] = "{job_id}/"
    endpoint_url: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/@]+[^\s@]*$")] | None,
        Meta(
            title="Endpoint",
            description="The server's URL. None: `AWS_ENDPOINT_URL_S3`, else AWS.",
            extra={"hint": "a URL is expected: https://host, without user name and password"},
        ),
    ] = None
    region: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None,
        Meta(title="Region", description="None: `AWS_DEFAULT_REGION`, else `us-east-1`. R2 calls it `auto`."),
    ] = None
    addressing_style: Annotated[
        Literal["auto", "path", "virtual"],
        Meta(
            title="Addressing style",
            description="Where the bucket's name goes: `virtual`, into the host name; `path`, into the path; `auto`: "
            "`virtual` on AWS, `path` elsewhere.",
            extra={"hint": "one of auto, path, virtual is expected"},
        ),
    ] = "auto"
    access_key_id: Annotated[
        str | None,
        Meta(title="Access key id", description="None: as AWS's tools find it (`AWS_*`, profile, the machine's role)."),
    ] = None
    secret_access_key: Annotated[
        str | None,
        Meta(title="Secret access key", description="Goes with `access_key_id`.", extra_json_schema=SECRET),
    ] = None
    storage_class: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Z0-9_]{1,64}$")] | None,
        Meta(title="Storage class", description="As the server calls it: `STANDARD_IA`, …"),
    ] = None
    read_back: Annotated[
        bool,
        Meta(
            title="Read back",
            description="Read every object again and compare its SHA-256. Without it, size, metadata and the server's "
            "own checksum of each piece are compared.",
        ),
    ] = False
    presign_seconds: Annotated[
        Annotated[int, Meta(ge=60, le=MAX_LINK_SECONDS)] | None,
        Meta(
            title="Link, seconds",
            description="Have the delivery's URL be a link to the largest file that anyone can open for so long. "
            "None: `s3://bucket/prefix`.",
            extra={"hint": f"a whole number from 60 to {MAX_LINK_SECONDS} is expected (a week at most)"},
        ),
    ] = None

    def __post_init__(self) -> None:
        try:
            templates.check(self.prefix)
        except templates.TemplateInvalid as problem:
            raise OptionInvalid("prefix", str(problem)) from None


def publish(package: Package, options: Options, place: Place) -> str:
    """Put ``package`` there; ``s3://bucket/prefix``, or the link that the options ask for."""
    bucket = Bucket(make_client(options, connections=WORKERS + 1), options.bucket, place.check_stopping)
    prefix = _prefix(package.rendered(options.prefix))
    content = manifest(package)
    keys = {file.name: _key(prefix, file.name) for file in package.files}
    last = _key(prefix, MANIFEST)
    sent = Counter(package.bytes * (2 if options.read_back else 1) + len(content), place)

    bucket.abort_unfinished(prefix, keys.values())
    digest = hashlib.sha256(content).hexdigest()
    missing = [file for file in package.files if not bucket.holds(keys[file.name], file.bytes, file.sha256)]
    whole = bucket.holds(last, len(content), digest)
    if missing:
        bucket.delete(last)  # it says that all is there: not while we work
        whole = False
    sent.add(sum(file.bytes for file in package.files if file not in missing))
    extra = {"StorageClass": options.storage_class} if options.storage_class else {}
    for file in missing:
        bucket.put(keys[file.name], file.path, file.sha256, {"ContentType": _type(file.name), **extra}, sent.add)
    if options.read_back:
        for file in package.files:
            bucket.read_back(keys[file.name], file.sha256, sent.add)
    if not whole:
        bucket.put(last, content, digest, {"ContentType": "application/json"}, sent.add)
    if options.presign_seconds is not None:
        largest = max(package.files, key=lambda file: file.bytes, default=None)
        return bucket.link(last if largest is None else keys[largest.name], options.presign_seconds)
    return f"s3://{options.bucket}/{prefix}"


def check(options: Options, place: Place) -> list[str]:
    """A small object is written, read and deleted."""
    client = make_client(options)
    bucket = Bucket(client, options.bucket, place.check_stopping)
    key = f"{_prefix(options.prefix.partition('{')[0].rpartition('/')[0])}.tunerd-check-{secrets.token_hex(8)}"
    content = b"tunerd tests whether it can write here.\n"
    digest = hashlib.sha256(content).hexdigest()
    bucket.put(key, content, digest, {"ContentType": "text/plain"}, lambda _: None)
    try:
        bucket.read_back(key, digest, lambda _: None)
    finally:
        deleted = bucket.delete(key)
    where = f"bucket {options.bucket} at {client.meta.endpoint_url}"
    if not deleted:
        return [f"wrote and read an object in {where}", f"it may not be deleted with this access key: {key}"]
    return [f"wrote, read and deleted an object in {where}"]


def _prefix(rendered: str) -> str:
    """Without a slash before it, with one behind it; may be empty."""
    plain = rendered.strip("/")
    return f"{plain}/" if plain else ""


def _key(prefix: str, name: str) -> str:
    key = f"{prefix}{name}"
    if len(key.encode()) > MAX_KEY_BYTES:
        raise Permanent(f"the key {key[:100]}… is longer than {MAX_KEY_BYTES} bytes: shorten the prefix")
    return key


def _type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
