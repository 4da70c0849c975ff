"""A refusal in the place of a page: for a browser a page, for a program problem+json as everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.errors import NotReady
from tests.support.webapp import running_app

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/jobs/job_gone", 404, "There is no such job"),
        ("/nowhere", 404, "Nothing is here"),
        ("/?page=nine", 400, "The request is not valid"),
        ("/publishing/new/ftp", 404, "Nothing is here"),
    ],
)
async def test_a_browser_sees_a_page(tmp_path: Path, path: str, status: int, title: str) -> None:
    async with running_app(tmp_path) as served:
        async with served.session.get(served.url + path, headers=BROWSER) as answer:
            assert (answer.status, answer.content_type) == (status, "text/html")
            text = await answer.text()
            assert f"<h1>{title}</h1>" in text and 'href="/"' in text
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        async with served.session.get(served.url + path) as answer:
            assert (answer.status, answer.content_type) == (status, PROBLEM)
            assert (await answer.json())["title"] == title


async def test_what_an_address_says_is_text(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        where = served.url + "/publishing/new/%3Cscript%3Ealert(1)%3C%2Fscript%3E"
        async with served.session.get(where, headers=BROWSER) as answer:
            text = await answer.text()
            assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("path", ["/api/cloud/jobs/job_gone", "/static/nothing.js"])
async def test_the_api_answers_a_browser_as_it_answers_everybody(tmp_path: Path, path: str) -> None:
    async with (
        running_app(tmp_path) as served,
        served.session.get(served.url + path, headers=BROWSER) as answer,
    ):
        assert (answer.status, answer.content_type) == (404, PROBLEM)


async def test_where_the_login_cannot_be_looked_up_the_plain_answer_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No failure of the page's own hides the one that it was to show."""

    async def away(*_: object, **__: object) -> None:
        raise NotReady("The store is not available.", retry_after=5)

    async with running_app(tmp_path, environ={"TUNERD_ADMIN_TOKEN": "open-sesame"}) as served:
        monkeypatch.setattr(served.store.sessions, "get", away)
        login = {"Authorization": "Bearer open-sesame", "Cookie": "tunerd=x; __Host-tunerd=x", **BROWSER}
        async with served.session.get(served.url + "/jobs/job_gone", headers=login) as answer:
            assert (answer.status, answer.content_type) == (404, PROBLEM)
