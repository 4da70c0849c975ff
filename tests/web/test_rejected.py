"""Addresses that were turned away: counted, newest first, bounded, forgotten after a day."""

from __future__ import annotations

from daemon.web.rejected import LATELY_SECONDS, MOST, RejectedAddresses


def test_counted_newest_first() -> None:
    rejected = RejectedAddresses()
    for at, address in enumerate(("a", "b", "a", None)):
        rejected.note(address, float(at), "/api/webhooks/replicate")
    assert [(one.address, one.count, one.last_at) for one in rejected.lately(3.0)] == [
        ("unknown", 1, 3.0),
        ("a", 2, 2.0),
        ("b", 1, 1.0),
    ]
    assert [one.address for one in rejected.lately(LATELY_SECONDS + 1.5)] == ["unknown", "a"]


def test_bounded() -> None:
    rejected = RejectedAddresses()
    for number in range(MOST + 5):
        rejected.note(str(number), 0.0, "/")
    lately = rejected.lately(0.0)
    assert (len(lately), lately[-1].address) == (MOST, "5")
