"""What is S3's own: parts that fail, uploads that a killed process left, rights that are missing, links."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from daemon.config import Settings
from daemon.delivery.destinations import s3
from daemon.delivery.destinations.base import Place
from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.s3 import client as clients
from daemon.delivery.s3.slices import Slice
from daemon.delivery.s3.upload import MAX_PARTS, PART_BYTES, part_bytes
from tests.delivery.destinations.counterparts import Bucket
from tests.support.gate import Gate, once, running_gate
from tests.support.outputs import sha256
from tests.support.packages import package, place, staged

LARGE = os.urandom(PART_BYTES * 2 + 5)


@pytest.fixture
def here(settings: Settings) -> Place:
    return place(settings)


@pytest.fixture
async def gate(swift: Bucket) -> AsyncIterator[Gate]:
    async with running_gate(swift.options.endpoint_url) as gate:
        yield gate


def failing(status: int, code: str, *methods: str, times: int, part: str = "") -> Callable[[web.Request], Any]:
    left = times

    def answer(request: web.Request) -> web.Response | None:
        nonlocal left
        if left and request.method in methods and part in request.path_qs:
            left -= 1
            body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>"
            return web.Response(status=status, text="" if request.method == "HEAD" else body)
        return None

    return answer


def through(gate: Gate, swift: Bucket) -> s3.Options:
    return msgspec.structs.replace(swift.options, endpoint_url=gate.url)


async def test_the_manifest_is_written_last_and_tells_the_hashes(swift: Bucket, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"model.safetensors": LARGE, "a.json": b"{}"}))
    assert await asyncio.to_thread(s3.publish, job, swift.options, here) == f"s3://{swift.name}/job_abc/"
    written = json.loads(swift.contents(job)["manifest.json"])
    assert {file["name"]: file["sha256"] for file in written["files"]} == {
        "model.safetensors": sha256(LARGE),
        "a.json": sha256(b"{}"),
    }
    head = swift.client.head_object(Bucket=swift.name, Key="job_abc/model.safetensors")
    assert head["Metadata"]["sha256"] == sha256(LARGE) and head["ETag"].endswith('-3"')
    assert swift.client.head_object(Bucket=swift.name, Key="job_abc/a.json")["ContentType"] == "application/json"
    assert swift.uploads() == []


async def test_a_part_that_fails_for_a_moment(swift: Bucket, gate: Gate, here: Place, tmp_path: Path) -> None:
    gate.answer = failing(503, "SlowDown", "PUT", times=2, part="partNumber=2")
    job = package(staged(tmp_path / "staging", {"m.bin": LARGE}))
    await asyncio.to_thread(s3.publish, job, through(gate, swift), here)
    assert swift.contents(job)["m.bin"] == LARGE
    assert len([path for path in gate.sent("PUT") if "partNumber=2" in path]) == 3


async def test_a_part_that_fails_for_good_leaves_no_parts_behind(
    swift: Bucket, gate: Gate, here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_ATTEMPTS", 1)
    gate.answer = failing(500, "InternalError", "PUT", times=1, part="partNumber=2")
    job = package(staged(tmp_path / "staging", {"m.bin": LARGE}))
    with pytest.raises(Retry, match=r"m\.bin: InternalError"):
        await asyncio.to_thread(s3.publish, job, through(gate, swift), here)
    assert swift.contents(job) == {} and swift.uploads() == []
    await asyncio.to_thread(s3.publish, job, through(gate, swift), here)
    assert swift.contents(job)["m.bin"] == LARGE


async def test_bytes_that_change_on_the_way_are_refused_by_the_server(
    swift: Bucket, here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = package(staged(tmp_path / "staging", {"m.bin": b"right"}))
    monkeypatch.setattr(Slice, "md5", lambda _: "1B2M2Y8AsgTpgAmY7PhCfg==")  # that of nothing: not of what is sent
    with pytest.raises(Retry, match="BadDigest"):
        await asyncio.to_thread(s3.publish, job, swift.options, here)
    assert swift.contents(job) == {}


async def test_an_answer_that_was_lost_after_completion(
    swift: Bucket, gate: Gate, here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server put the parts together, its answer did not arrive: the next run finds the object and sends nothing."""
    monkeypatch.setattr(clients, "MAX_ATTEMPTS", 1)
    job = package(staged(tmp_path / "staging", {"m.bin": LARGE}))
    gate.lose = once("POST", "uploadId=")
    with pytest.raises(Retry):
        await asyncio.to_thread(s3.publish, job, through(gate, swift), here)
    gate.requests.clear()
    await asyncio.to_thread(s3.publish, job, through(gate, swift), here)
    assert gate.sent("PUT") == [f"/{swift.name}/job_abc/manifest.json"]
    assert swift.contents(job)["m.bin"] == LARGE and swift.uploads() == []


async def test_rights_that_are_missing(swift: Bucket, gate: Gate, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"m.bin": b"model"}))
    options = through(gate, swift)
    # Without the right to list, S3 answers 403 for what is missing; without others, some calls are refused.
    gate.answer = failing(403, "AccessDenied", "HEAD", "DELETE", times=2)
    await asyncio.to_thread(s3.publish, job, options, here)
    gate.answer = failing(403, "AccessDenied", "GET", times=99, part="uploads")
    await asyncio.to_thread(s3.publish, job, options, here)
    gate.answer = failing(403, "AccessDenied", "HEAD", times=99)
    with pytest.raises(Permanent, match="s3:GetObject"):
        await asyncio.to_thread(s3.publish, job, options, here)
    gate.answer = failing(403, "AccessDenied", "PUT", times=99)
    with pytest.raises(Permanent, match="s3:PutObject"):
        await asyncio.to_thread(s3.check, options, here)
    gate.answer = failing(403, "AccessDenied", "DELETE", times=99)
    assert "may not be deleted" in (await asyncio.to_thread(s3.check, options, here))[1]


async def test_wrong_credentials(swift: Bucket, here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = package(staged(tmp_path / "staging", {"m.bin": b"model"}))
    wrong = msgspec.structs.replace(swift.options, secret_access_key="wrong")
    for attempt in (partial(s3.publish, job, wrong, here), partial(s3.check, wrong, here)):
        with pytest.raises(Permanent, match="the secret does not belong to the access key") as raised:
            await asyncio.to_thread(attempt)
        assert "testing" not in str(raised.value) and "wrong" not in str(raised.value).replace("wrong region", "")
    half = msgspec.structs.replace(swift.options, secret_access_key=None)
    with pytest.raises(Permanent, match="go together"):
        await asyncio.to_thread(s3.publish, job, half, here)
    clients._session.cache_clear()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    none = msgspec.structs.replace(half, access_key_id=None)
    with pytest.raises(Permanent, match="AWS_ACCESS_KEY_ID"):
        await asyncio.to_thread(s3.publish, job, none, here)
    clients._session.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(swift.options.access_key_id))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(swift.options.secret_access_key))
    await asyncio.to_thread(s3.publish, job, none, here)
    clients._session.cache_clear()
    assert swift.contents(job)["m.bin"] == b"model"


async def test_a_server_that_is_not_there(here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_ATTEMPTS", 1)
    options = s3.Options(bucket="bucket", endpoint_url="http://127.0.0.1:9", access_key_id="a", secret_access_key="b")
    with pytest.raises(Retry, match=r"127\.0\.0\.1:9"):
        await asyncio.to_thread(s3.publish, package(staged(tmp_path / "staging", {"m.bin": b"x"})), options, here)


async def test_templates_links_and_reading_back(swift: Bucket, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"small.txt": b"s", "m.bin": b"model"}), config_name="My cat")
    options = msgspec.structs.replace(
        swift.options, prefix="/models/{config_name}-{date}", presign_seconds=600, read_back=True
    )
    url = await asyncio.to_thread(s3.publish, job, options, here)
    assert sorted(swift.everything()) == [
        f"models/My-cat-2023-11-14/{name}" for name in ("m.bin", "manifest.json", "small.txt")
    ]
    assert "/models/My-cat-2023-11-14/m.bin?" in url and "testing" not in url
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"model")


async def test_only_our_own_unfinished_uploads_are_ended(swift: Bucket, here: Place, tmp_path: Path) -> None:
    for key in ("job_abc/m.bin", "job_abc/m.bin.other", "job_abcd/m.bin"):
        swift.client.create_multipart_upload(Bucket=swift.name, Key=key)
    await asyncio.to_thread(s3.publish, package(staged(tmp_path / "staging", {"m.bin": LARGE})), swift.options, here)
    assert sorted(swift.uploads()) == ["job_abc/m.bin.other", "job_abcd/m.bin"]


KILLED = """
import sys, threading, time
from pathlib import Path
import msgspec
from daemon.delivery.destinations import s3
from daemon.delivery.s3 import upload
from tests.support.outputs import settings_for
from tests.support.packages import package, place, staged

folder, options = Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=s3.Options)
content = (folder / "content").read_bytes()
job = package(staged(folder / "staging", {"m.bin": content}))
upload.WORKERS = 1

def report(done, total):
    print("sent", done, flush=True)
    time.sleep(60 if done else 0)

s3.publish(job, options, place(settings_for(folder, "http://127.0.0.1:9"), report))
"""


async def test_killed_in_the_middle_of_an_upload(swift: Bucket, here: Place, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(LARGE)
    arguments = [str(tmp_path), msgspec.json.encode(swift.options).decode()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, *arguments, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    seen = b""
    while b"sent 16777216" not in seen:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line, "it ended by itself"
        seen += line
    process.send_signal(signal.SIGKILL)
    await process.wait()
    job = package(staged(tmp_path / "staging", {"m.bin": LARGE}))
    assert swift.uploads() == ["job_abc/m.bin"] and swift.contents(job) == {}
    await asyncio.to_thread(s3.publish, job, swift.options, here)
    assert swift.uploads() == []
    assert swift.contents(job)["m.bin"] == LARGE


@pytest.mark.parametrize("size", [1, PART_BYTES, 50 * 1024**3, 5 * 1024**4])
def test_parts_are_few_enough_and_large_enough(size: int) -> None:
    length = part_bytes(size)
    assert length >= PART_BYTES and -(-size // length) <= MAX_PARTS and length % (1024 * 1024) == 0


@pytest.mark.parametrize(
    ("endpoint", "style", "expected"),
    [
        (None, "auto", "https://bucket.s3.eu-west-1.amazonaws.com/k"),
        ("https://s3.eu-central-003.backblazeb2.com", "auto", "https://s3.eu-central-003.backblazeb2.com/bucket/k"),
        ("https://a1b2.r2.cloudflarestorage.com", "auto", "https://a1b2.r2.cloudflarestorage.com/bucket/k"),
        ("http://minio:9000", "auto", "http://minio:9000/bucket/k"),
        ("https://objects.example.com", "virtual", "https://bucket.objects.example.com/k"),
    ],
)
def test_where_a_bucket_is(endpoint: str | None, style: Any, expected: str) -> None:
    options = s3.Options(
        bucket="bucket",
        endpoint_url=endpoint,
        region="eu-west-1",
        addressing_style=style,
        access_key_id="a",
        secret_access_key="b",
    )
    url = clients.make_client(options).generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    assert url.partition("?")[0] == expected
