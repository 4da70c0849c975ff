"""Links of deliveries: what can be opened, and until when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.links import link_of

NOW = 1_767_607_200.0  # 2026-01-05T10:00:00Z
V4 = "X-Amz-Date=20260105T100000Z&X-Amz-Expires=600&X-Amz-Signature=1"


@pytest.mark.parametrize(
    ("url", "now", "opens", "until"),
    [
        (f"https://b.example/m?{V4}", NOW, True, NOW + 600),
        (f"http://10.0.0.5:9000/b/m?{V4}", NOW + 599, True, NOW + 600),
        (f"http://10.0.0.5:9000/b/m?{V4}", NOW + 600, False, NOW + 600),
        (f"https://b.example/m?AWSAccessKeyId=a&Expires={NOW:.0f}&Signature=1", NOW - 1, True, NOW),
        (f"https://b.example/m?AWSAccessKeyId=a&Expires={NOW:.0f}&Signature=1", NOW, False, NOW),
        ("https://huggingface.co/a/b/tree/main", NOW, True, None),
        (f"https://b.example/m?Expires={NOW:.0f}", NOW * 2, True, None),  # nothing says that this is a signature
        ("https://b.example/m?X-Amz-Date=yesterday&X-Amz-Expires=600&X-Amz-Signature=1", NOW, True, None),
        (f"https://b.example/m?{V4.replace('600', '9' * 30)}", NOW, True, None),
        (f"https://b.example/m?{V4.replace('600', '9' * 12)}", NOW, True, None),
        ("s3://bucket/job", NOW, False, None),
        ("file:///srv/models", NOW, False, None),
        (f"javascript:alert(1)//?{V4}", NOW, False, None),
        ("https:alert", NOW, False, None),
        ("https://[::1", NOW, False, None),
    ],
)
def test_a_link_opens_until_its_signature_ends(url: str, now: float, opens: bool, until: float | None) -> None:
    link = link_of(url, now)
    assert (link.url, link.opens, link.until) == (url, opens, until)


@given(st.text())
def test_any_text_gives_an_answer(text: str) -> None:
    for url in (text, f"https://x/?{text}", f"https://x/?X-Amz-Date={text}&X-Amz-Expires={text}&X-Amz-Signature="):
        assert link_of(url, NOW).url == url
