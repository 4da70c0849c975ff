"""Threads that move bytes: behind the event loop, where the system lets them."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from daemon.delivery import threads
from daemon.delivery.threads import NICER, worker_pool


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_workers_step_back_and_nobody_else() -> None:
    before = niceness()
    after = min(before + NICER, 19) if sys.platform == "linux" else before  # elsewhere it is the process's
    with worker_pool(2, "test") as pool:
        assert pool.submit(niceness).result() == after
    assert niceness() == before


def test_a_pool_that_is_filled_by_a_worker_is_no_nicer_than_any_other() -> None:
    with worker_pool(1, "outer") as outer, worker_pool(1, "inner") as inner:
        outer_nice = outer.submit(niceness).result()
        assert outer.submit(lambda: inner.submit(niceness).result()).result() == outer_nice


def test_a_system_that_forbids_it_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(threads.os, "setpriority", forbidden)
    with worker_pool(1, "test") as pool:
        assert pool.submit(lambda: 42).result() == 42
