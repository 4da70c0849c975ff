"""What of a training's settings everyone may see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.hub.card import model_card
from daemon.delivery.hub.settings import MAX_SETTINGS, training_settings
from tests.support.packages import package


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pretrained_model_name_or_path", "stabilityai/stable-diffusion-xl-base-1.0"),
        ("--learning_rate", 1e-4),
        ("resolution", "1024,1024"),
        ("use_ema", True),
        ("validation_prompt", "a cat and/or a dog"),
    ],
)
def test_shown(name: str, value: Any) -> None:
    assert training_settings({"config_json": json.dumps({name: value})}) == {name.lstrip("-"): value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("instance_dir", "x"),
        ("vae_path", "/home/me/vae"),
        ("vae_path", "C:\\models\\vae"),
        ("cache", "~/cache"),
        ("lycoris", "config/lycoris.json"),
        ("hf_token", "secret"),
        ("wandb_api_key", "secret"),
        ("note", "hf_abcdefghijklmnopqrstuvwxyz"),
        ("images", "dataset"),
        ("where", "s3://bucket/x"),
        ("mail", "me@example.com"),
        ("prompt", "x" * 300),
        ("nested", {"a": 1}),
        ("empty", " "),
        ("nothing", None),
    ],
)
def test_hidden(name: str, value: Any) -> None:
    assert training_settings({"config_json": json.dumps({name: value})}) == {}


def test_the_input_where_there_is_no_configuration() -> None:
    assert training_settings({"steps": 10, "config_json": "{"}) == {"steps": 10}
    assert len(training_settings({f"k{number}": number for number in range(500)})) == MAX_SETTINGS


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=60) | st.integers() | st.none(), max_size=6), st.text())
def test_a_card_is_made_of_anything(given_input: dict[str, Any], config_name: str) -> None:
    import yaml

    job = package(input=given_input, config_name=config_name, metadata={})
    card = model_card(job, license_=None, base_model=None, tags=())
    card.encode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] and all(isinstance(tag, str) for tag in front["tags"])
