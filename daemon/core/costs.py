"""What hardware costs, and what a job has cost.

Prices are configuration with a date: the list below was read off Replicate's pricing page, and the setting ``prices``
adds to it or overrides it. SKU names follow no rule (``gpu-2x-l40s`` but ``gpu-a100-large-2x``), so each one is written
out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from . import lenient_json

PRICES_AS_OF = "2026-01"  # when the table was last compared with the pricing page


class Hardware(msgspec.Struct, frozen=True):
    """One hardware option. ``usd_per_second`` bills active time; ``vram_gb`` is per machine, 0 without a GPU.

    ``as_of``: when the price was read; ``source``: the list of this file, or the user's settings.
    """

    sku: str
    name: str
    usd_per_second: float
    vram_gb: int
    as_of: str | None = PRICES_AS_OF
    source: Literal["list", "settings"] = "list"

    def __str__(self) -> str:
        return f"{self.sku} ${self.usd_per_second:g} a second"


HARDWARE: dict[str, Hardware] = {
    option.sku: option
    for option in (
        Hardware("cpu", "CPU", 0.000100, 0),
        Hardware("gpu-t4", "Nvidia T4", 0.000225, 16),
        Hardware("gpu-l40s", "Nvidia L40S", 0.000975, 48),
        Hardware("gpu-2x-l40s", "2x Nvidia L40S", 0.001950, 96),
        Hardware("gpu-4x-l40s", "4x Nvidia L40S", 0.003900, 192),
        Hardware("gpu-8x-l40s", "8x Nvidia L40S", 0.007800, 384),
        Hardware("gpu-a100-large", "Nvidia A100 (80GB)", 0.001400, 80),
        Hardware("gpu-a100-large-2x", "2x Nvidia A100 (80GB)", 0.002800, 160),
        Hardware("gpu-a100-large-4x", "4x Nvidia A100 (80GB)", 0.005600, 320),
        Hardware("gpu-a100-large-8x", "8x Nvidia A100 (80GB)", 0.011200, 640),
        Hardware("gpu-h100", "Nvidia H100", 0.001525, 80),
        Hardware("gpu-h100-2x", "2x Nvidia H100", 0.003050, 160),
        Hardware("gpu-h100-4x", "4x Nvidia H100", 0.006100, 320),
        Hardware("gpu-h100-8x", "8x Nvidia H100", 0.012200, 640),
    )
}


Prices = Mapping[str, Hardware]  # by SKU

_MOST_USD_PER_SECOND = 100.0  # a price of an hour or a month, entered by mistake, is mostly more
_ENTRY = frozenset({"usd_per_second", "label", "as_of", "vram_gb"})


def price_list(own: Iterable[Hardware]) -> dict[str, Hardware]:
    """The list with the user's own prices: they add to it and override it."""
    return {**HARDWARE, **{option.sku: option for option in own}}


def read_prices(value: Any) -> tuple[Hardware, ...]:
    """The setting ``prices``: SKU → ``{usd_per_second, label?, as_of?, vram_gb?}``, a table or its JSON text.

    Raises ``ValueError``, naming the SKU.
    """
    if isinstance(value, str):
        value = lenient_json.value(value)
    if not isinstance(value, dict):
        raise ValueError('a table of prices by SKU is expected, as {"gpu-b200": {"usd_per_second": 0.0025}}')
    return tuple(_read_price(sku, entry) for sku, entry in value.items())


def _read_price(sku: str, entry: Any) -> Hardware:
    if not isinstance(entry, dict) or not entry.keys() <= _ENTRY:
        raise ValueError(f"{sku}: a table of {', '.join(sorted(_ENTRY))} is expected")
    price, listed = entry.get("usd_per_second"), HARDWARE.get(sku)
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price <= _MOST_USD_PER_SECOND:
        raise ValueError(f"{sku}: usd_per_second must be US dollars a second, 0 to {_MOST_USD_PER_SECOND:g}")
    label = entry.get("label", sku if listed is None else listed.name)
    vram = entry.get("vram_gb", 0 if listed is None else listed.vram_gb)
    as_of = entry.get("as_of")
    if isinstance(as_of, date):  # as TOML writes it without quotes
        as_of = as_of.isoformat()
    if not isinstance(label, str) or not label.isprintable() or not (as_of is None or isinstance(as_of, str)):
        raise ValueError(f"{sku}: label and as_of are texts")
    if isinstance(vram, bool) or not isinstance(vram, int) or vram < 0:
        raise ValueError(f"{sku}: vram_gb must be a whole number")
    return Hardware(sku, label, float(price), vram, as_of, "settings")


def price_per_second(hardware: str | None, prices: Prices = HARDWARE) -> float | None:
    """US dollars a second of active time; ``None`` for hardware that has no price."""
    option = prices.get(hardware or "")
    return option.usd_per_second if option else None


def cost_usd(hardware: str | None, seconds: float | None, usd_per_second: float | None = None) -> float | None:
    """US dollars for ``seconds`` of active time, to a ten-thousandth; ``None`` where either is unknown.

    ``usd_per_second``: the price that was in force when the job was submitted; without one the list's counts.
    A lower bound on private models and deployments, which bill set-up and idle time too.
    """
    price = price_per_second(hardware) if usd_per_second is None else usd_per_second
    if price is None or seconds is None or seconds < 0:
        return None
    return round(price * seconds, 4)
