"""What hardware costs, and what a job has cost.

Prices are configuration with a date, read off Replicate's pricing page. SKU names follow no rule
(``gpu-2x-l40s`` but ``gpu-a100-large-2x``), so each one is written out.
"""

from __future__ import annotations

import msgspec

PRICES_AS_OF = "2026-01"  # when the table was last compared with the pricing page


class Hardware(msgspec.Struct, frozen=True):
    """One hardware option. ``usd_per_second`` bills active time; ``vram_gb`` is per machine, 0 without a GPU."""

    sku: str
    name: str
    usd_per_second: float
    vram_gb: int


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


def price_per_second(hardware: str | None) -> float | None:
    """US dollars a second of active time; ``None`` for hardware that is not in the table."""
    option = HARDWARE.get(hardware or "")
    return option.usd_per_second if option else None


def cost_usd(hardware: str | None, seconds: float | None) -> float | None:
    """US dollars for ``seconds`` of active time, to a ten-thousandth; ``None`` where either is unknown.

    A lower bound on private models and deployments, which bill set-up and idle time too.
    """
    price = price_per_second(hardware)
    if price is None or seconds is None or seconds < 0:
        return None
    return round(price * seconds, 4)
