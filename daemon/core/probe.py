"""The probe: a signed event of our own that is sent round through the public URL, to see that it comes back to us.

It is never stored. Its signature is judged like any other, so nobody without the secret gets its answer.
"""

from __future__ import annotations

BODY = b'{"tunerd":"probe"}'
_PREFIX = "tunerd_probe_"


def probe_id(nonce: str) -> str:
    """The ``webhook-id`` of a probe."""
    return _PREFIX + nonce


def is_probe(webhook_id: str, body: bytes) -> bool:
    """Whether a verified event is a probe, which the journal does not need."""
    return webhook_id.startswith(_PREFIX) and body == BODY
