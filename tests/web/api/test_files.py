"""Delivered files: given out as downloads, and nothing beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.store.records import Artifact
from tests.support.webapp import Served, running_app

CONTENT = {"model.safetensors": b"weights" * 100, "a b&c.png": b"\x89PNG", "evil.html": b"<script>alert(1)</script>"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "outputs/job_p1"
    made.mkdir(parents=True)
    return made


@pytest.fixture
async def served(tmp_path: Path, folder: Path) -> AsyncIterator[Served]:
    async with running_app(tmp_path) as served:
        await served.event("p1", status="succeeded", output="x")
        for name, content in CONTENT.items():
            (folder / name).write_bytes(content)
            await served.store.deliveries.put_artifact("job_p1", Artifact(name, len(content), "0" * 64, None))
        yield served


async def deliver(served: Served, folder: Path, **columns: str) -> None:
    given = {"status": "delivered", "url": folder.as_uri(), **columns}
    assert await served.store.deliveries.update("job_p1", "local", generation=0, now=0, **given)


@pytest.mark.parametrize("name", CONTENT)
async def test_a_download(served: Served, folder: Path, name: str) -> None:
    await deliver(served, folder)
    async with served.session.get(f"{served.url}/api/cloud/jobs/p1/file", params={"name": name}) as answer:
        assert (answer.status, await answer.read()) == (200, CONTENT[name])
        assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.content_type == ("image/png" if name.endswith(".png") else "application/octet-stream")
    async with served.session.get(
        f"{served.url}/api/cloud/jobs/p1/file", params={"name": name}, headers={"Range": "bytes=1-2"}
    ) as answer:
        assert (answer.status, await answer.read()) == (206, CONTENT[name][1:3])


@pytest.mark.parametrize("name", ["manifest.json", "../secret", "..", ".", "/etc/passwd", "model.safetensors/", "x\\y"])
async def test_nothing_else(served: Served, folder: Path, name: str) -> None:
    (folder / "manifest.json").write_text("{}")
    (folder.parent / "secret").write_text("secret")
    await deliver(served, folder)
    async with served.session.get(f"{served.url}/api/cloud/jobs/p1/file", params={"name": name}) as answer:
        assert answer.status == 404


async def test_a_link_leads_nowhere(served: Served, folder: Path, tmp_path: Path) -> None:
    await deliver(served, folder)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "evil.html").unlink()
    (folder / "evil.html").symlink_to(secret)
    await served.problem("GET", "/api/cloud/jobs/p1/file?name=evil.html", status=404, code="not_found")
    (folder / "model.safetensors").unlink()
    await served.problem("GET", "/api/cloud/jobs/p1/file?name=model.safetensors", status=404, code="not_found")


@pytest.mark.parametrize("columns", [{"status": "running"}, {"url": "https://example.org/x"}, {"url": "file://host/x"}])
async def test_what_is_not_delivered_here(served: Served, folder: Path, columns: dict[str, str]) -> None:
    path = "/api/cloud/jobs/p1/file?name=evil.html"
    await served.problem("GET", path, status=404, code="not_found")
    await deliver(served, folder, **columns)
    await served.problem("GET", path, status=404, code="not_found")
    await served.problem("GET", "/api/cloud/jobs/p1/file", status=400, code="invalid_request")
    await served.problem("GET", "/api/cloud/jobs/nobody/file?name=x", status=404, code="job_not_found")
