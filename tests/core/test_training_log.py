"""Progress and curves from the text that trainers print."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.training_log import Progress, read_progress, read_series

BAR = "Epoch 1/7 Steps:  12%|█▏        | 120/1000 [01:23<10:05,  1.45it/s, grad_norm=0.2, lr=0.0001, step_loss=0.0812]"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (BAR, Progress(120, 1000, 12.0, 605.0)),
        ("Steps:   0%|          | 0/50 [00:00<?, ?it/s]", Progress(0, 50, 0.0, None)),
        ("Steps:  50%|#####     | 5/10 [1:00:00<1:02:03, 12s/it]", Progress(5, 10, 50.0, 3723.0)),
        ("Steps:   1%|          | 5/500 [2:00:00<3 days, 1:02:03, 12s/it]", Progress(5, 500, 1.0, 262923.0)),
        ("step 3/10\n", Progress(3, 10, 30.0, None)),
        ("Step: 3 of 10, loss: 0.5", Progress(3, 10, 30.0, None)),
        ("\x1b[32mSteps:  50%|#####     | 5/10 [00:05<00:05, 1.0it/s]\x1b[0m", Progress(5, 10, 50.0, 5.0)),
        ("nothing here 12/13", None),
        ("", None),
        ("step 11/10", None),
        ("step 1/0", None),
    ],
)
def test_progress_of_one_record(log: str, expected: Progress | None) -> None:
    assert read_progress(log) == expected


def test_the_newest_record_wins_over_carriage_returns() -> None:
    log = "\r".join(f"Steps: {i * 10:3}%|## | {i}/10 [00:01<00:0{9 - i}, 1it/s]" for i in range(10))
    assert read_progress(log) == Progress(9, 10, 90.0, 0.0)


def test_a_validation_bar_does_not_throw_the_training_back() -> None:
    log = BAR + "\r" + "\r".join(f" {i * 5}%|# | {i}/20 [00:01<00:09, 1it/s]" for i in range(21))
    progress = read_progress(log)
    assert progress is not None
    assert (progress.step, progress.total_steps) == (120, 1000)


def test_other_bars_are_shown_while_there_is_no_training_bar() -> None:
    assert read_progress("Caching latents:  40%|#### | 4/10 [00:04<00:06, 1it/s]") == Progress(4, 10, 40.0, 6.0)


def test_series_from_bars_plain_lines_and_json() -> None:
    log = (
        BAR
        + "\rSteps:  13%|# | 130/1000 [01:30<10:00, 1.4it/s, lr=9e-5, step_loss=0.07]\n"
        + "step 140/1000 loss: 0.06 lr: 8e-5 val_loss=0.5\n"
        + '{"step": 150, "loss": 0.05, "lr": 7e-05, "note": "x"}\n'
        + "global_step=160 loss=nan\n"
        + "the loss of 12 birds\n"
    )
    series = read_series(log)
    assert series["lr"] == [(120, 1e-4), (130, 9e-5), (140, 8e-5), (150, 7e-5)]
    assert series["loss"][:4] == [(120, 0.0812), (130, 0.07), (140, 0.06), (150, 0.05)]
    assert series["loss"][4][0] == 160
    assert math.isnan(series["loss"][4][1])
    assert series["val_loss"] == [(140, 0.5)]
    assert series["grad_norm"] == [(120, 0.2)]


def test_the_last_value_of_a_step_wins_and_steps_are_sorted() -> None:
    assert read_series("step 2 loss=1\nstep 1 loss=3\nstep 2 loss=2\n") == {"loss": [(1, 3.0), (2, 2.0)]}


@given(st.text(alphabet='0123456789%|/[]<:,. stepSTEPloss=\r\n\x1b{}"', max_size=300))
def test_any_text_gives_an_answer(log: str) -> None:
    read_progress(log)
    read_series(log)


@given(st.from_regex(r"\A(Steps|Caching): +[0-9]+%\|#*\| [0-9]+/[0-9]+ \[[0-9:]+<([0-9]+ days?, )?[0-9:]+(, .*)?\]\Z"))
def test_any_bar_gives_an_answer(bar: str) -> None:
    progress = read_progress(bar)
    assert progress is None or 0 <= progress.percent <= 100
    read_series(bar)


@pytest.mark.parametrize("left", ["9" * 400 + " days, 01:02:03", "9" * 30 + ":02:03", "9" * 400])
def test_a_time_left_beyond_all_numbers_is_none(left: str) -> None:
    progress = read_progress(f"Steps:   1%|x         | 1/10 [00:01<{left}, 1it/s]")
    assert progress is None or progress.eta_seconds is None


def test_a_large_log_without_any_progress_is_read_in_linear_time() -> None:
    read_progress("x" * 1_000_000 + "\n" + "9" * 1500)
    read_series(("9" * 1500 + " loss\n") * 500)
