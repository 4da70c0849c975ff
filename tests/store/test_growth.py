"""Growth coding: any bodies, read back in any order; the middle found fast and never counted twice."""

from __future__ import annotations

import itertools

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.store import growth
from daemon.store.growth import Stored, common_head, common_tail, encode_growth, encode_whole, rebuild

# Few letters and many repeats: heads and tails meet and overlap.
_SHORT = st.text(alphabet="ab", max_size=12).map(str.encode)
_LONG = st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=40), st.integers(0, 800))
_BODIES = st.lists(_SHORT | _LONG | st.binary(max_size=60), min_size=1, max_size=10)


def chain_of(bodies: list[bytes], whole: frozenset[int] = frozenset()) -> list[Stored]:
    """Oldest first; ``whole``: which ones begin anew."""
    stored = [encode_whole(bodies[0])]
    for index, (base, body) in enumerate(itertools.pairwise(bodies), 1):
        stored.append(encode_whole(body) if index in whole else encode_growth(base, body))
    return stored


@given(_BODIES, st.frozensets(st.integers(1, 9)), st.randoms(use_true_random=False))
@example([b"aaa", b"aa", b"aaaaa"], frozenset(), None)
def test_any_bodies_come_back_in_any_order(bodies, whole, randomness) -> None:
    stored = chain_of(bodies, whole)
    order = list(range(len(bodies)))
    if randomness is not None:
        randomness.shuffle(order)
    for index in order:
        assert rebuild(stored[index::-1]) == bodies[index]
    for base, entry, body in zip(bodies, stored[1:], bodies[1:], strict=False):
        assert entry.head + entry.tail <= min(len(base), len(body))


@given(_SHORT | _LONG, _SHORT | _LONG, _SHORT, _SHORT)
def test_head_and_tail_are_the_longest(a: bytes, b: bytes, same_head: bytes, same_tail: bytes) -> None:
    a, b = same_head + a + same_tail, same_head + b + same_tail
    limit = min(len(a), len(b))
    head = common_head(a, b, limit)
    assert a[:head] == b[:head]
    assert head == limit or a[head] != b[head]
    tail = common_tail(a, b, limit - head)
    assert tail == 0 or a[-tail:] == b[-tail:]
    assert tail == limit - head or a[-tail - 1] != b[-tail - 1]


def test_what_is_kept_of_a_growing_log_is_its_growth() -> None:
    base = b'{"logs":"' + bytes(range(32, 127)) * 1000 + b'","status":"processing"}'
    body = base.replace(b'","status', b'\\rnew","status')
    entry = encode_growth(base, body)
    assert (entry.head, entry.tail) == (len(base) - 24, 24)
    assert zstandard.decompress(entry.middle) == b"\\rnew"


@pytest.mark.parametrize(
    "chain",
    [
        [Stored(3, 3, 0, growth.encode_whole(b"").middle, whole=False)],  # its base is missing
        [Stored(9, 9, 0, growth.encode_whole(b"").middle, whole=False), encode_whole(b"abc")],  # and too short
        [Stored(3, 0, 0, b"not zstd", whole=True)],
        [Stored(4, 0, 0, encode_whole(b"abc").middle, whole=True)],  # of another length
        [Stored(3, 0, 0, encode_whole(b"abc").middle[:-2], whole=True)],
    ],
)
def test_a_chain_that_does_not_hold_is_an_error(chain: list[Stored]) -> None:
    with pytest.raises(ValueError, match=r"missing|piece"):
        rebuild(chain)
