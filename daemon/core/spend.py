"""What has been spent in a period, and what a cost limit says to one more job. The clock comes in.

One function, ``limit_state``, tells where a limit stands. The status that people see is its answer, and so is what a
submit is judged by: they cannot disagree.

- ``spent``: what finished jobs cost, by the time they ended, plus what unfinished ones have cost so far.
- ``reserved``: what unfinished jobs will still cost: their estimates, less what they have cost already.

A job that was first seen in an event tells no hardware: it is counted at the price of the configured one. What it will
still cost nobody knows, so it is counted as it runs. Where a figure is missing that counts, it is ``unknown``, and a
limit that blocks refuses: it fails closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import msgspec

from ..errors import CostLimitExceeded
from .costs import HARDWARE, Prices, price_per_second
from .estimate import Estimate, Unknown
from .periods import period_end, period_start

BLOCK = "block"


class Untold(msgspec.Struct, frozen=True):
    """Finished jobs on one hardware of which the provider did not tell the billed time: the seconds they ran."""

    hardware: str | None
    seconds: float
    usd_per_second: float | None = None  # as in force at submit


class Unfinished(msgspec.Struct, frozen=True):
    """A job that may cost more yet. ``expected_usd``: the estimate made at submit."""

    job_id: str
    submitted: bool  # by this daemon
    hardware: str | None
    started_at: float | None
    expected_usd: float | None
    usd_per_second: float | None = None  # as in force at submit


class Ledger(msgspec.Struct, frozen=True):
    """What the store knows of money since some moment: ``finished_usd`` of jobs that ended, and what has no cost."""

    finished_usd: float
    untold: Sequence[Untold]
    unfinished: Sequence[Unfinished]


class Limit(msgspec.Struct, frozen=True):
    """The limit as it is set, and what its figures depend on."""

    enabled: bool
    amount: float  # US dollars
    period: str  # daily | weekly | monthly
    action: str  # warn | block
    zone: tzinfo | None  # whose days are counted; None: the process' own
    assumed_hardware: str  # of jobs that tell none
    prices: Prices = msgspec.field(default_factory=lambda: HARDWARE)


class LimitState(msgspec.Struct, frozen=True):
    """Where a limit stands; US dollars, unix seconds. ``exceeded``: not even the smallest job fits.

    ``unknown``: what is not known of the figures, and what to do; then a limit that blocks counts as exceeded.
    """

    enabled: bool
    amount: float
    period: str
    action: str
    spent: float
    reserved: float
    remaining: float
    exceeded: bool
    period_start: float
    period_end: float
    unknown: str | None


def limit_state(ledger: Ledger, limit: Limit, now: float) -> LimitState:
    """Where ``limit`` stands at ``now``. ``ledger`` begins at the period's start. A disabled one is never exceeded."""
    spent, held = spent_usd(ledger, limit), 0.0
    for job in ledger.unfinished:
        so_far = so_far_usd(job, limit, now) or 0.0
        spent += so_far
        held += max((job.expected_usd or 0.0) - so_far, 0.0)
    spent, held = _usd(spent), _usd(held)
    unknown = _unknown(ledger, limit)
    closed = unknown is not None and limit.action == BLOCK
    return LimitState(
        enabled=limit.enabled,
        amount=limit.amount,
        period=limit.period,
        action=limit.action,
        spent=spent,
        reserved=held,
        remaining=_usd(max(0.0, limit.amount - spent - held)),
        exceeded=limit.enabled and (closed or _usd(spent + held) >= limit.amount),
        period_start=period_start(now, limit.period, limit.zone),
        period_end=period_end(now, limit.period, limit.zone),
        unknown=unknown,
    )


class Budget:
    """A submit's question to the limit. The store asks it in the transaction that writes the intent.

    ``since``: from when the ledger is to be. ``warning``: after ``ask``, what a limit that only warns has to say.
    ``reached``: after ``ask``, the limit's state where its amount is what stands in the job's way.
    """

    def __init__(self, limit: Limit, cost: Estimate | Unknown, *, now: float) -> None:
        self.since = period_start(now, limit.period, limit.zone)
        self.warning: str | None = None
        self.reached: LimitState | None = None
        self._limit, self._cost, self._now = limit, cost, now

    def ask(self, ledger: Ledger) -> None:
        """Raises ``CostLimitExceeded`` where the job must not be submitted."""
        state = limit_state(ledger, self._limit, self._now)
        expected = 0.0 if isinstance(self._cost, Unknown) else self._cost.expected_usd
        self.reached = state if is_reached(state) or _over(state, expected) else None
        self.warning = judge(state, self._cost, self._limit.zone)


def judge(state: LimitState, cost: Estimate | Unknown, zone: tzinfo | None) -> str | None:
    """What the limit says to a job of that cost: nothing, or a warning. Raises ``CostLimitExceeded`` where it blocks.

    A limit that only warns counts a cost that is not known as nothing.
    """
    if not state.enabled:
        return None
    expected = None if isinstance(cost, Unknown) else cost.expected_usd
    blocks = state.action == BLOCK
    if blocks and isinstance(cost, Unknown):
        raise _refusal(
            f"The cost of this job is not known: {cost.reason}. The {state.period} cost limit blocks what it cannot "
            "count. Set cost_limit_action to warn to submit it all the same.",
            state,
            expected,
        )
    if blocks and state.unknown is not None:
        raise _refusal(f"What counts against the {state.period} cost limit is not known: {state.unknown}", state, None)
    if not state.exceeded and not _over(state, expected or 0.0):
        return None
    told = _told(state, expected, zone)
    if blocks:
        raise _refusal(f"{told} Raise the limit, wait until then, or cancel what is not needed.", state, expected)
    return told


def is_reached(state: LimitState) -> bool:
    """Whether the amount is used up (a limit may be exceeded for other reasons: what it cannot count)."""
    return state.enabled and _usd(state.spent + state.reserved) >= state.amount


def _over(state: LimitState, expected: float) -> bool:
    return state.enabled and _usd(state.spent + state.reserved + expected) > state.amount


def spent_usd(ledger: Ledger, limit: Limit) -> float:
    """US dollars of finished jobs. Those without a price count nothing here; ``LimitState.unknown`` tells of them."""
    untold = (entry.seconds * (_price(entry, limit) or 0.0) for entry in ledger.untold)
    return _usd(math.fsum((ledger.finished_usd, *untold)))


def running_usd(ledger: Ledger, limit: Limit, now: float) -> float:
    """US dollars that unfinished jobs have cost so far."""
    return _usd(math.fsum(so_far_usd(job, limit, now) or 0.0 for job in ledger.unfinished))


def so_far_usd(job: Unfinished, limit: Limit, now: float) -> float | None:
    """US dollars that ``job`` has cost at ``now``: its price for the time since it started. ``None``: no price."""
    price = _price(job, limit)
    if job.started_at is None:
        return 0.0
    return None if price is None else price * max(0.0, now - job.started_at)


def _price(entry: Untold | Unfinished, limit: Limit) -> float | None:
    if entry.usd_per_second is not None:
        return entry.usd_per_second
    return price_per_second(limit.assumed_hardware if entry.hardware is None else entry.hardware, limit.prices)


def _unknown(ledger: Ledger, limit: Limit) -> str | None:
    used: list[Untold | Unfinished] = [entry for entry in ledger.untold if entry.seconds > 0]
    used += (job for job in ledger.unfinished if job.started_at is not None)
    unpriced = sorted({entry.hardware or limit.assumed_hardware for entry in used if _price(entry, limit) is None})
    if unpriced:
        return (
            f"jobs ran on hardware {unpriced[0]!r}, which has no price. Give it one in the setting prices, or set "
            "cost_limit_action to warn until the period is over."
        )
    for job in ledger.unfinished:
        if job.submitted and job.expected_usd is None:
            return f"job {job.job_id} has not ended and has no estimate. Wait until it has ended, or cancel it."
    return None


def _told(state: LimitState, expected: float | None, zone: tzinfo | None) -> str:
    this = "of unknown cost" if expected is None else f"expected to cost ${expected:.2f}"
    until = datetime.fromtimestamp(state.period_end, zone).strftime("%Y-%m-%d %H:%M")
    return (
        f"The {state.period} cost limit is ${state.amount:.2f}: ${state.spent:.2f} are spent, ${state.reserved:.2f} "
        f"reserved for jobs that have not ended, and this job is {this}. The period ends on {until}."
    )


def _refusal(detail: str, state: LimitState, expected: float | None) -> CostLimitExceeded:
    return CostLimitExceeded(
        detail,
        limit=state.amount,
        period=state.period,
        spent=state.spent,
        reserved=state.reserved,
        estimate=expected,
        period_end=datetime.fromtimestamp(state.period_end, UTC).isoformat().replace("+00:00", "Z"),
    )


def _usd(value: float) -> float:
    return round(float(value), 4)
