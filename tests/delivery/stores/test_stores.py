"""Outputs that name a Hub repository or a bucket: read with the user's credentials, and only what the user named."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from daemon.config import Settings
from daemon.delivery.destinations import huggingface, s3
from daemon.delivery.destinations.base import Package
from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.fetch import Fetcher
from daemon.delivery.staging import Part, State
from daemon.delivery.stores.allowed import Folder, Repository, Stores, of_destination
from daemon.delivery.stores.reading import HubReader, S3Reader
from daemon.store.secrets import destination_secret
from daemon.store.store import Store
from tests.delivery.conftest import StartWorker
from tests.support.fetching import attempt_with
from tests.support.hub import TOKEN, Hub, Repo, running_hub
from tests.support.hub import status as hub_status
from tests.support.moto import running_moto
from tests.support.outputs import complete, ended, sha256

CONTENT = random.Random(9).randbytes(3_000_000)


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with running_moto() as url:
        yield url


@pytest.fixture
def folder(moto_url: str) -> Folder:
    """A bucket with something in it."""
    name = f"b{secrets.token_hex(6)}"
    options = s3.Options(bucket=name, endpoint_url=moto_url, access_key_id="any", secret_access_key="thing")
    client = boto3.client(
        "s3", endpoint_url=moto_url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="thing"
    )
    client.create_bucket(Bucket=name)
    for key in ("models/m.bin", "private/m.bin"):
        client.put_object(Bucket=name, Key=key, Body=CONTENT)
    return Folder(name, "models/", options)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_hub() as hub:
        for name in ("me/lora", "me/private"):
            hub.repos[name] = Repo(private=True)
            hub.repos[name].commit("model", {"m.bin": (True, CONTENT)})
        yield hub


async def test_a_file_of_a_bucket(fetcher: Fetcher, folder: Folder, tmp_path: Path) -> None:
    stores = Stores([], [folder], ())
    fetched = await attempt_with(fetcher, f"s3://{folder.bucket}/models/m.bin", tmp_path / "m.bin", stores)
    assert fetched.sha256 == sha256(CONTENT) and (tmp_path / "m.bin").read_bytes() == CONTENT


async def test_it_is_continued_where_it_was(fetcher: Fetcher, folder: Folder, tmp_path: Path) -> None:
    url, reader = (
        f"s3://{folder.bucket}/models/m.bin",
        Stores([], [folder], ()).reader(f"s3://{folder.bucket}/models/m.bin"),
    )
    assert isinstance(reader, S3Reader)
    with reader.open(0, 1000) as body:
        etag = body.etag
    part = Part(tmp_path / "m.bin", url)
    part.begin(State(url, [], etag, len(CONTENT)))
    part.write(0, memoryview(CONTENT[:1_000_000]))
    with reader.open(1_000_000, 65536) as body:
        assert (body.start, body.total, body.etag) == (1_000_000, len(CONTENT), etag)
        assert b"".join(body.blocks) == CONTENT[1_000_000:]
    await fetcher.attempt(url, part, Stores([], [folder], ()))
    part.close()
    assert (tmp_path / "m.bin").read_bytes() == CONTENT


async def test_what_is_not_there_fails_with_the_reason(fetcher: Fetcher, folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"models/none\.bin"):
        await attempt_with(fetcher, f"s3://{folder.bucket}/models/none.bin", tmp_path / "x", Stores([], [folder], ()))


async def test_a_file_of_a_repository(fetcher: Fetcher, hub: Hub, tmp_path: Path) -> None:
    stores = Stores([Repository("me/lora", hub.url, TOKEN)], [], ())
    for url in ("hf://me/lora/m.bin", f"{hub.url}/me/lora/resolve/main/m.bin"):
        fetched = await attempt_with(fetcher, url, tmp_path / "m.bin", stores)
        assert fetched.sha256 == sha256(CONTENT)
    hub.faults["resolve"] = [hub_status(503), hub_status(401)]
    with pytest.raises(Retry):
        await attempt_with(fetcher, "hf://me/lora/m.bin", tmp_path / "y", stores)
    with pytest.raises(Permanent, match="token"):
        await attempt_with(fetcher, "hf://me/lora/m.bin", tmp_path / "y", stores)


@pytest.mark.parametrize(
    "url",
    [
        "hf://me/private/m.bin",
        "hf://me/lora/../private/resolve/main/m.bin",
        "https://huggingface.co/me/private/resolve/main/m.bin",
        "hf://me/lora",
        "s3://{bucket}/private/m.bin",
        "s3://{bucket}/models/../private/m.bin",
        "s3://another/models/m.bin",
    ],
)
async def test_what_the_user_did_not_name_is_not_asked_for(
    fetcher: Fetcher, hub: Hub, folder: Folder, tmp_path: Path, url: str
) -> None:
    stores = Stores([Repository("me/lora", hub.url, TOKEN)], [folder], ())
    url = url.replace("{bucket}", folder.bucket)
    with pytest.raises(Permanent, match="refused"):
        fetcher.check(url, stores)
    with pytest.raises(Permanent, match="refused"):
        await attempt_with(fetcher, url, tmp_path / "x", stores)
    assert hub.requests == []


def test_settings_add_to_it() -> None:
    stores = Stores([], [], ("https://files.example.com", "hf://me/lora", "s3://bucket/models"))
    assert isinstance(stores.reader("hf://me/lora/x"), HubReader)
    assert isinstance(stores.reader("https://huggingface.co/me/lora/resolve/main/x"), HubReader)
    assert isinstance(stores.reader("s3://bucket/models/x"), S3Reader)
    for url in ("s3://bucket/models-of-others/x", "s3://bucket/x", "hf://me/other/x"):
        with pytest.raises(Permanent, match="refused"):
            stores.reader(url)
    assert stores.reader("https://replicate.delivery/x") is None
    plain = Stores([], [], ("https://huggingface.co",))  # fetched as from any origin, without credentials
    assert plain.reader("https://huggingface.co/me/lora/resolve/main/x") is None


def package(metadata: dict[str, Any]) -> Package:
    return Package(
        job_id="job_1",
        provider_job_id="abc",
        model="acme/trainer",
        version="5c7d",
        completed_at=1_767_600_000.0,
        files=(),
        output=None,
        metadata=metadata,
    )


def test_what_a_destination_names() -> None:
    own = package(metadata={})
    assert of_destination(huggingface.Options(repo_id="me/{job_id}"), own) == Repository("me/job_1", None, None)
    asked = package(metadata={"hub_model_id": "me/that"})
    assert of_destination(huggingface.Options(repo_id="me/{job_id}"), asked) == Repository("me/that", None, None)
    found = of_destination(s3.Options(bucket="bucket", prefix="models/{job_id}/"), own)
    assert isinstance(found, Folder) and found.prefix == "models/"


async def test_a_whole_delivery(
    settings: Settings, store: Store, start_worker: StartWorker, hub: Hub, folder: Folder
) -> None:
    """The job's own destinations are where its model may already be: it is brought here too."""
    options = {"bucket": folder.bucket, "prefix": "models/{job_id}/", "endpoint_url": folder.options.endpoint_url}
    destinations: list[dict[str, Any]] = [
        {"name": "local", "type": "local", "options": {}},
        {"name": "cloud", "type": "s3", "options": {**options, "access_key_id": "any"}},
    ]
    await store.settings.put({"destinations": destinations}, now=0)
    await store.secrets.put(destination_secret("cloud", "secret_access_key"), "thing", now=0)
    async with start_worker() as worker:
        job_id = await complete(store, "abc", [f"s3://{folder.bucket}/models/m.bin"])
        worker.wake()
        rows = await ended(store, job_id)
        assert {row.status for row in rows} == {"delivered"}, rows
        assert (settings.output_dir / job_id / "m.bin").read_bytes() == CONTENT
        bad = await complete(store, "def", [f"s3://{folder.bucket}/private/m.bin"])
        worker.wake()
        rows = await ended(store, bad)
    assert {row.status for row in rows} == {"failed"}
    assert all("TUNERD_OUTPUT_ORIGINS" in str(row.error) for row in rows)
