"""What a job will cost: the table of trainings, the user's own jobs, and what is not known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.costs import HARDWARE
from daemon.core.estimate import Estimate, Past, Unknown, estimate
from daemon.core.training_kind import Training, Work, work_of

MODEL = "simpletuner/advanced-trainer"
FLUX = Training("flux", full=False)


def config(**settings: Any) -> dict[str, Any]:
    return {"config_json": json.dumps(settings)}


@pytest.mark.parametrize(
    ("given_input", "work"),
    [
        (config(model_type="lora", model_family="flux", max_train_steps=1000), Work(FLUX, 1000)),
        (config(**{"--model_type": "lora", "--model_family": "flux", "--max_train_steps": "1000"}), Work(FLUX, 1000)),
        (config(**{"--lora-type": "lycoris", "--model-family": "Flux"}), Work(FLUX, None)),
        (
            config(lora_rank=16, pretrained_model_name_or_path="black-forest-labs/FLUX.1-dev", max_train_steps=2e3),
            Work(FLUX, 2000),
        ),
        (
            config(model_type="lora", pretrained_model_name_or_path="stabilityai/stable-diffusion-xl-base-1.0"),
            Work(Training("sdxl", full=False), None),
        ),
        (config(model_type="full", model_family="sdxl", max_train_steps=1), Work(Training("sdxl", full=True), 1)),
        (config(model_family="sd3"), Work(Training("sd3", full=True), None)),  # SimpleTuner's default
        (config(model_type="lora"), Work(Training("", full=False), None)),
        ({**config(model_type="lora", max_train_steps=1000), "max_train_steps": 50}, Work(Training("", False), 50)),
        (config(model_type="lora", max_train_steps=0, num_train_epochs=3), Work(Training("", full=False), None)),
        ({"steps": 30, "prompt": "a disc"}, Work(None, 30)),
        ({"prompt": "a disc"}, Work(None, None)),
        ({"steps": True, "config_json": "{"}, Work(None, None)),
        ({"steps": "many", "config_json": []}, Work(None, None)),
    ],
)
def test_what_an_input_asks_for(given_input: dict[str, Any], work: Work) -> None:
    assert work_of(given_input) == work


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["config_json", "max_train_steps", "steps", "model_type", "model_family", "--lora_type"])


@given(st.dictionaries(keys, json_values), st.dictionaries(keys, json_values))
def test_any_input_is_read(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    for given_input in (outer, {**outer, "config_json": inner}, {**outer, "config_json": json.dumps(inner)}):
        work = work_of(given_input)
        found = estimate(work, MODEL, "gpu-l40s", [])
        if isinstance(found, Estimate):
            assert 0 <= found.low_usd <= found.expected_usd <= found.high_usd


@pytest.mark.parametrize(
    ("training", "steps", "low", "high"),
    [
        (FLUX, 1000, 2, 4),
        (FLUX, 2000, 4, 8),
        (FLUX, 500, 1, 2),
        (FLUX, 3000, 6, 12),
        (Training("sdxl", full=False), 2000, 3, 6),
        (Training("sdxl", full=False), 1000, 1.5, 3),
        (Training("flux", full=True), 5000, 15, 50),
        (Training("", full=True), 10_000, 30, 100),
        (Training("wan", full=False), 1000, 2, 4),  # not in the table: the dearer row
    ],
)
def test_the_table_to_begin_with(training: Training, steps: int, low: float, high: float) -> None:
    found = estimate(Work(training, steps), MODEL, "gpu-l40s", [])
    assert isinstance(found, Estimate)
    assert (found.low_usd, found.expected_usd, found.high_usd) == (low, (low + high) / 2, high)
    assert "table" in found.basis and f"{steps} steps" in found.basis
    assert ("for want of wan" in found.basis) == (training.family == "wan")


def test_the_table_scales_with_the_price_of_the_hardware() -> None:
    found = estimate(Work(FLUX, 1000), MODEL, "gpu-h100-2x", [])
    assert isinstance(found, Estimate)
    ratio = HARDWARE["gpu-h100-2x"].usd_per_second / HARDWARE["gpu-l40s"].usd_per_second
    assert found.low_usd == round(2 * ratio, 4)
    assert "gpu-h100-2x" in found.basis


def past(*costs: float, work: Work = Work(FLUX, 1000)) -> list[Past]:  # noqa: B008 - a frozen value
    return [Past(cost, work) for cost in costs]


def test_own_jobs_know_better_than_the_table() -> None:
    found = estimate(Work(FLUX, 1000), MODEL, "gpu-l40s", past(1.0, 5.0, 2.0))
    assert found == Estimate(
        1.0, 2.0, 5.0, f"median of the last 3 finished jobs of {MODEL} on gpu-l40s, 1000 steps, at list price"
    )
    one = estimate(Work(FLUX, 1000), MODEL, "gpu-l40s", past(1.5))
    assert isinstance(one, Estimate)
    assert (one.low_usd, one.expected_usd, one.high_usd) == (1.5, 1.5, 1.5)
    assert one.basis.startswith("1 finished job of")


def test_of_four_jobs_and_more_the_middle_half_is_the_range() -> None:
    found = estimate(Work(FLUX, 1000), MODEL, "gpu-l40s", past(1.0, 2.0, 3.0, 4.0, 100.0))
    assert isinstance(found, Estimate)
    assert (found.low_usd, found.expected_usd, found.high_usd) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    "other", [Work(FLUX, 600), Work(FLUX, 1501), Work(Training("flux", full=True), 1000), Work(None, 1000)]
)
def test_another_kind_of_job_tells_nothing(other: Work) -> None:
    found = estimate(Work(FLUX, 1000), MODEL, "gpu-l40s", past(99.0, work=other))
    assert isinstance(found, Estimate) and found.expected_usd == 3.0


def test_nearly_as_many_steps_are_scaled() -> None:
    found = estimate(Work(FLUX, 1000), MODEL, "gpu-l40s", past(2.4, work=Work(FLUX, 1200)))
    assert isinstance(found, Estimate)
    assert found.expected_usd == 2.0
    assert "scaled to 1000 steps" in found.basis


def test_any_model_has_its_history_only() -> None:
    assert isinstance(estimate(Work(None, None), "a/b", "gpu-t4", []), Unknown)
    found = estimate(Work(None, None), "a/b", "gpu-t4", past(0.25, work=Work(None, None)))
    assert isinstance(found, Estimate) and found.expected_usd == 0.25


@pytest.mark.parametrize(
    ("work", "hardware", "advice"),
    [
        (Work(FLUX, 1000), "gpu-x", "gpu-l40s"),  # names what is known
        (Work(FLUX, None), "gpu-l40s", "max_train_steps"),
        (Work(None, 5), "gpu-l40s", "finished"),
    ],
)
def test_what_is_not_known_is_said(work: Work, hardware: str, advice: str) -> None:
    found = estimate(work, "a/b", hardware, past(1.0))
    assert isinstance(found, Unknown)
    assert advice in found.reason
