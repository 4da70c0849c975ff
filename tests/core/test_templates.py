"""Templates of names: known names only, values that fit into a path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core import templates

JOB: dict[str, Any] = {
    "job_id": "job_1",
    "provider_job_id": "p1",
    "config_name": "My cat / v2",
    "model": "acme/trainer",
    "version": "5c7d5dc6dd8bf75c1acaa8565735e798",
    "completed_at": 1_700_000_000.25,
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{job_id}/", "job_1/"),
        ("me/{config_name}", "me/My-cat-v2"),
        ("{model}/{version}/{date}/{provider_job_id}", "acme-trainer/5c7d5dc6dd8b/2023-11-14/p1"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_names_are_replaced(template: str, expected: str) -> None:
    assert templates.render(template, templates.values(**JOB)) == expected


def test_what_a_job_lacks_is_its_id() -> None:
    values = templates.values(**dict.fromkeys(JOB) | {"job_id": "job_1"})
    assert set(values) == set(templates.NAMES) and set(values.values()) == {"job_1"}


@pytest.mark.parametrize(
    ("template", "says"),
    [("{jobid}", "{job_id}"), ("{}", "{job_id}"), ("{job_id", "open"), ("}", "open"), ("{{job_id}}", "open")],
)
def test_what_is_wrong_is_said(template: str, says: str) -> None:
    with pytest.raises(templates.TemplateInvalid, match=says):
        templates.check(template)


@given(st.text(max_size=300))
def test_a_value_is_one_safe_component(text: str) -> None:
    found = templates.values(**JOB | {"config_name": text})["config_name"]
    assert 0 < len(found) <= templates.MAX_VALUE
    assert ".." not in found and "--" not in found and "/" not in found and found[0].isalnum() and found.isascii()
