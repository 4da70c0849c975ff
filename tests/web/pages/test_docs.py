"""The API page shows the whole document, and nothing of it as anything but text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from daemon.web.pages.docs import kind_of, prose
from tests.support.webapp import running_app


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.assets: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert "style" not in values and not any(name.startswith("on") for name in values), tag
        self.ids += [values["id"]] if "id" in values else []
        self.targets += [values["href"][1:]] if values.get("href", "").startswith("#") else []
        self.assets += [values[name] for name in ("src", "href") if name in values]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_every_operation_and_schema_is_there_and_every_link_leads_to_it(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        document = await served.get("/openapi.json")
        async with served.session.get(f"{served.url}/docs") as answer:
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            page = Page(await answer.text())
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= {*page.ids}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if operation["tags"] != ["pages"]:
                assert operation["operationId"] in page.ids, path
                assert operation["summary"] in page.text
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= {*page.ids}
    for asset in page.assets:
        assert asset.startswith(("/", "#")), "nothing from elsewhere"


async def test_it_is_the_admin_s(tmp_path: Path) -> None:
    async with running_app(tmp_path) as served:
        options: dict[str, Any] = {"headers": {"X-Forwarded-For": "203.0.113.9"}, "allow_redirects": False}
        async with served.session.get(f"{served.url}/docs", **options) as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer", "minimum": 0, "maximum": 9, "default": 3}, "integer, ≥ 0, ≤ 9, default 3"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "object of boolean"),
        ({"enum": ["a", "<b>"]}, "a, <b>"),
        ({"$ref": "#/components/schemas/daemon.web.health.Checked"}, "Checked"),
        ({"type": ["string", "null"]}, "string or null"),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}], "items": False},
            "[integer, number]",
        ),
        ({}, "any JSON"),
    ],
)
def test_a_schema_in_words(schema: dict[str, Any], words: str) -> None:
    assert Page(str(kind_of(schema))).text == words


def test_prose_is_text_with_a_little_markup() -> None:
    assert prose("One `a<b>` & **two**\nlines.\n\n- first\n- ``second``") == (
        "<p>One <code>a&lt;b&gt;</code> &amp; <strong>two</strong> lines.</p>"
        "<ul><li>first</li><li><code>second</code></li></ul>"
    )
    assert not re.search("<script", prose("<script>alert(1)</script>"))
