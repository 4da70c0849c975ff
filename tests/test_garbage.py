"""What is loaded is not looked through again, and a daemon that starts is not held up by the collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import garbage
from daemon.cli.main import main


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_loaded_is_not_looked_through_again() -> None:
    garbage.wait()
    assert not gc.isenabled()
    loaded = [[number] for number in range(10_000)]
    garbage.keep_loaded()
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(loaded)
    assert len(gc.get_objects()) < len(loaded)  # those that came since


@pytest.mark.parametrize("failing", [False, True])
def test_serve_begins_without_and_ends_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: bool) -> None:
    collects: list[bool] = []

    def run(*_: object) -> int:
        collects.append(gc.isenabled())
        if failing:
            raise OSError("it could not start")
        return 0

    monkeypatch.setattr("daemon.serve.run", run)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process is not the daemon's
    arguments = ["serve", "--data-dir", str(tmp_path)]
    if failing:
        with pytest.raises(OSError, match="could not start"):
            main(arguments)
    else:
        assert main(arguments) == 0
    assert collects == [False]
    assert gc.isenabled()
