from __future__ import annotations

import json

import pytest

from daemon.sandbox.encoders import encode
from daemon.sandbox.faults import Style

VALUE = {"logs": "0%| | 0/50 [00:00<?, ?it/s] <&> café ✓ \u2028", "id": 1}


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        (
            "go",
            '{"id":1,"logs":"0%| | 0/50 [00:00\\u003c?, ?it/s] \\u003c\\u0026\\u003e café ✓ \\u2028"}',
        ),
        ("django", '{"logs":"0%| | 0/50 [00:00<?, ?it/s] <&> café ✓ \\u2028","id":1}'),
        ("python", '{"logs": "0%| | 0/50 [00:00<?, ?it/s] <&> caf\\u00e9 \\u2713 \\u2028", "id": 1}'),
    ],
)
def test_each_backend_writes_in_its_own_way(style: Style, expected: str) -> None:
    encoded = encode(VALUE, style)
    assert encoded == expected.encode()
    assert json.loads(encoded) == VALUE


def test_a_client_that_writes_it_again_gets_other_bytes() -> None:
    for style in ("go", "django"):
        body = encode(VALUE, style)
        assert json.dumps(json.loads(body)).encode() != body
