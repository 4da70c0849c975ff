"""The price list and the user's own prices."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from daemon.core.costs import HARDWARE, cost_usd, price_list, price_per_second, read_prices


def test_own_prices_add_and_override() -> None:
    table = tomllib.loads(
        """
        [gpu-b200]
        usd_per_second = 0.0025
        label = "Nvidia B200"
        as_of = 2026-11-01
        vram_gb = 180
        [gpu-t4]
        usd_per_second = 1
        """
    )
    prices = price_list(read_prices(table))
    assert set(prices) == {*HARDWARE, "gpu-b200"}
    b200, t4 = prices["gpu-b200"], prices["gpu-t4"]
    assert (b200.name, b200.usd_per_second, b200.as_of, b200.vram_gb, b200.source) == (
        *("Nvidia B200", 0.0025, "2026-11-01", 180),
        "settings",
    )
    assert (t4.name, t4.vram_gb, t4.usd_per_second, t4.as_of) == ("Nvidia T4", 16, 1.0, None)
    assert price_per_second("gpu-b200") is None
    assert (cost_usd("gpu-b200", 10.0), cost_usd("gpu-b200", 10.0, 0.0025)) == (None, 0.025)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("gpu-t4=1", "table of prices"),
        ('["gpu-t4"]', "table of prices"),
        ({"gpu-t4": 0.1}, "gpu-t4"),
        ({"gpu-t4": {}}, "usd_per_second"),
        ({"gpu-t4": {"usd_per_second": -1}}, "usd_per_second"),
        ({"gpu-t4": {"usd_per_second": float("nan")}}, "usd_per_second"),
        ({"gpu-t4": {"usd_per_second": True}}, "usd_per_second"),
        ({"gpu-t4": {"usd_per_second": 0.1, "usd_per_hour": 1}}, "gpu-t4"),
        ({"gpu-t4": {"usd_per_second": 0.1, "label": 7}}, "label"),
        ({"gpu-t4": {"usd_per_second": 0.1, "vram_gb": 1.5}}, "vram_gb"),
    ],
)
def test_a_wrong_price_is_named(value: Any, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        read_prices(value)
