"""So many requests from one address: a token bucket per client, constant time, bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from ..core.addresses import Address

BURST_SECONDS = 2.0  # so much of the sustained rate may come at once: a proxy that was held up lets go all together
MOST_CLIENTS = (
    16_384  # remembered at once (about 3 MB); the one not seen for longest is forgotten, and so has a full bucket
)
_ROUNDING = 1e-6  # seconds; sums of intervals are not exact
_IPV6_HOST_BITS = 64  # one customer has a /64, and may use every address in it


class RateLimit:
    """``rate`` requests a second from one client, sustained; 0 = no limit.

    Kept as the time at which the client's bucket will be full again (the generic cell rate algorithm): one number each.
    """

    def __init__(self, rate: float, *, burst_seconds: float = BURST_SECONDS, most_clients: int = MOST_CLIENTS) -> None:
        self._burst = burst_seconds
        self._interval = 1 / rate if rate else 0.0
        self._most_clients = most_clients
        self._full_at: OrderedDict[int | None, float] = OrderedDict()

    def excess(self, address: Address | None, now: float) -> float:
        """Count one request. 0.0: let it in; else the seconds until one would be let in.

        ``now`` in seconds of a clock that only goes forward. ``None`` is one client too.
        """
        if not self._interval:
            return 0.0
        client = _client(address)
        full_at = self._full_after(client, now)
        over = full_at - now - self._burst
        if over > _ROUNDING:
            return over
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._most_clients:
            self._full_at.popitem(last=False)
        return 0.0

    def is_over(self, address: Address | None, now: float) -> bool:
        """Whether ``excess`` would refuse one; nothing is counted."""
        return bool(self._interval) and self._full_after(_client(address), now) - now - self._burst > _ROUNDING

    def give_back(self, address: Address | None) -> None:
        """One that was counted is counted no more."""
        client = _client(address)
        if client in self._full_at:
            self._full_at[client] -= self._interval

    def _full_after(self, client: int | None, now: float) -> float:
        """When the bucket of ``client`` is full again if it is used now."""
        return max(self._full_at.get(client, now), now) + self._interval


def _client(address: Address | None) -> int | None:
    if address is None:
        return None
    # An IPv4 number is below 2**32; the /64s that anybody has are far above it.
    return int(address) if address.version == 4 else int(address) >> _IPV6_HOST_BITS
