"""What a job will cost: told from what jobs like it have cost, else from SimpleTuner's table of trainings.

Where neither says anything the cost is not known, and that is the answer: nothing is made up.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from .costs import HARDWARE, Prices, price_per_second
from .training_kind import Training, Work

HISTORY_JOBS = 20  # newest finished jobs like this one that are looked back on
_NEAR = 1.5  # times as many steps, or as few: still the same kind of job
_QUARTILES_FROM = 4  # jobs; fewer have no meaningful middle half
_REFERENCE = "gpu-l40s"  # the table's hardware: the page's default


class Estimate(msgspec.Struct, frozen=True):
    """US dollars; ``basis`` says what the estimate rests on."""

    low_usd: float
    expected_usd: float
    high_usd: float
    basis: str


class Unknown(msgspec.Struct, frozen=True):
    """The cost cannot be told: ``reason``, and what to do about it."""

    reason: str


class Past(msgspec.Struct, frozen=True):
    """A finished job of the same model on the same hardware."""

    cost_usd: float
    work: Work
    usd_per_second: float | None = None  # by which it was billed; None: the list's price


class _Row(msgspec.Struct, frozen=True):
    training: Training
    steps: int
    low_usd: float
    high_usd: float


# SimpleTuner's page on Replicate. "Full fine-tune, 5000+ steps" is one row for every family.
_TABLE = (
    _Row(Training("flux", full=False), 1000, 2.0, 4.0),
    _Row(Training("flux", full=False), 2000, 4.0, 8.0),
    _Row(Training("sdxl", full=False), 2000, 3.0, 6.0),
    _Row(Training("", full=True), 5000, 15.0, 50.0),
)


def estimate(
    work: Work, model: str, hardware: str, history: Sequence[Past], prices: Prices = HARDWARE
) -> Estimate | Unknown:
    """``history``: finished jobs of ``model`` on ``hardware``, newest first; those unlike ``work`` are passed over."""
    price = price_per_second(hardware, prices)
    if price is None:
        return Unknown(
            f"there is no price for hardware {hardware!r}; give it one in the setting prices, or take one of: "
            f"{', '.join(prices)}"
        )
    if work.training is not None and work.steps is None:
        return Unknown("the configuration does not say how long it trains; set max_train_steps")
    at = "at list price" if prices[hardware].source == "list" else "at the price of the settings"
    then = price_per_second(hardware) or price
    alike = [_priced(past, price, then) for past in history if _alike(past.work, work)][:HISTORY_JOBS]
    if alike:
        return _from_history(alike, work, f"{model} on {hardware}", at)
    if work.training is not None and work.steps is not None:
        return _from_table(work.training, work.steps, hardware, price, at)
    return Unknown(f"no job like it of {model} on {hardware} has finished yet, which could tell")


def _priced(past: Past, price: float, then: float) -> Past:
    """What it would cost at ``price``. ``then``: by which it was billed where it does not say."""
    billed = past.usd_per_second or then
    return past if billed in {0.0, price} else msgspec.structs.replace(past, cost_usd=past.cost_usd * price / billed)


def _alike(past: Work, wanted: Work) -> bool:
    if past.training != wanted.training:
        return False
    if past.steps is None or wanted.steps is None:
        return past.steps == wanted.steps
    return wanted.steps / _NEAR <= past.steps <= wanted.steps * _NEAR


def _from_history(alike: Sequence[Past], work: Work, what: str, at: str) -> Estimate:
    """The median, between the quartiles; of few jobs between the cheapest and the dearest."""
    costs = [past.cost_usd * _ratio(work.steps, past.work.steps) for past in alike]
    low, expected, high = min(costs), statistics.median(costs), max(costs)
    if len(costs) >= _QUARTILES_FROM:
        low, _, high = statistics.quantiles(costs, n=4, method="inclusive")
    jobs = "1 finished job" if len(costs) == 1 else f"median of the last {len(costs)} finished jobs"
    steps = "" if work.steps is None else f", {_scaled(work, alike)}"
    return _rounded(low, expected, high, f"{jobs} of {what}{steps}, {at}")


def _scaled(work: Work, alike: Sequence[Past]) -> str:
    same = all(past.work.steps == work.steps for past in alike)
    return f"{work.steps} steps" if same else f"scaled to {work.steps} steps"


def _from_table(training: Training, steps: int, hardware: str, price: float, at: str) -> Estimate:
    rows = [row for row in _TABLE if row.training.full == training.full]
    own = [row for row in rows if row.training.family == training.family] or [
        row
        for row in rows
        if training.full or row.training.family == "flux"  # the dearer one stands for the others
    ]
    row = min(own, key=lambda row: max(row.steps / steps, steps / row.steps))
    factor = steps / row.steps * (price / HARDWARE[_REFERENCE].usd_per_second)
    low, high = row.low_usd * factor, row.high_usd * factor
    kind = "a full fine-tune" if training.full else f"a LoRA of {'SDXL' if row.training.family == 'sdxl' else 'Flux'}"
    stands = "" if row.training.family in {"", training.family} else f" (for want of {training.family or 'a family'})"
    basis = (
        f"SimpleTuner's table, {kind}{stands}: ${row.low_usd:g} to ${row.high_usd:g} for {row.steps} steps on "
        f"{_REFERENCE}; scaled to {steps} steps on {hardware} {at}"
    )
    return _rounded(low, (low + high) / 2, high, basis)


def _ratio(wanted: int | None, past: int | None) -> float:
    return 1.0 if wanted is None or past is None else wanted / past


def _rounded(low: float, expected: float, high: float, basis: str) -> Estimate:
    return Estimate(round(low, 4), round(expected, 4), round(high, 4), basis)
