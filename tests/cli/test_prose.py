"""Help texts are broken by the terminal alone."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from daemon.cli.prose import reflow


def test_paragraphs_are_joined_and_examples_stay() -> None:
    assert reflow("One.\n\nTwo goes\non here.\n\nFor example:\n\n  a\n  b\n") == (
        "One.\n\nTwo goes on here.\n\nFor example:\n\n  a\n  b\n"
    )


@pytest.mark.parametrize("command", [["backup"], ["events", "export"], ["events", "replay"]])
def test_a_narrow_terminal_has_no_stumps(command: list[str]) -> None:
    environment = {**os.environ, "COLUMNS": "70"}
    shown = subprocess.run(
        [sys.executable, "-m", "daemon", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    lines = shown[: shown.index("╭")].splitlines()
    stumps = [line for line, after in itertools.pairwise(lines) if 0 < len(line) < 40 and after[:1].isalpha()]
    assert stumps == []
