"""What the benchmarks report: a limit that could not be measured is said to be so."""

from __future__ import annotations

from bench.download_once import Download
from bench.downloads import _limits
from bench.report import Limit, limits_table


def test_a_limit_that_was_not_measured_is_shown() -> None:
    text = limits_table([Limit("fast", 3.0, at_least=2.0), Limit("slow", 1.0, at_least=2.0), Limit("peer", None, 1.0)])
    assert [line.split()[-1] for line in text.text().splitlines()[3:]] == ["held", "MISSED", "MEASURED"]


def test_without_its_peer_the_comparison_stays_in_the_table() -> None:
    ours = [Download(seconds=1.0, sha256="", stall_p99_ms=1.0, stall_max_ms=1.0, rss_growth_mib=1.0)]
    speeds = {"tunerd": [4.0], "curl | sha256sum": [1.0], "tunerd, 50m/s each": [2.0]}
    unmeasured = [limit for limit in _limits(speeds, ours) if limit.value is None]
    assert [limit.what for limit in unmeasured] == ["download, limited connections: of aria2c -x8"]
    (measured,) = [one for one in _limits(speeds | {"aria2c -x8, 50m/s each": [2.0]}, ours) if "aria2c" in one.what]
    assert measured.value == 1.0
