"""``tunerd configs``: what was saved under a name."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import StandIn, problem

PATH = "/api/cloud/configs"
CATS: dict[str, Any] = {
    "name": "flux cats",
    "config": {"--model_family": "flux", "--max_train_steps": 500},
    "dataloader_config": [{"id": f"cats {number}"} for number in range(5)],
}
PLAIN: dict[str, Any] = {"name": "plain\x1b[2J", "config": {"model_type": "lora"}, "dataloader_config": None}


async def test_the_list(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("GET", PATH, {"configs": [CATS, PLAIN]})
    shown = await tunerd("configs", TUNERD_URL=stand_in.url)
    assert shown.code == 0
    head, cats, plain = shown.out.splitlines()
    assert head.split() == ["name", "model", "steps", "data"]
    assert "flux cats" in cats
    assert cats.split()[2:4] == ["flux", "500"]
    assert cats.endswith("cats 0, cats 1, cats 2 and 2 more")
    assert "\x1b" not in plain
    assert plain.split()[1:] == ["lora", "-", "-"]
    told = await tunerd("configs", "--json", TUNERD_URL=stand_in.url)
    assert told.json() == {"configs": [CATS, PLAIN]}


async def test_one_of_them(tunerd, stand_in: StandIn) -> None:
    stand_in.answer("GET", f"{PATH}/flux cats", CATS)
    for arguments in (("configs", "flux cats"), ("configs", "flux cats", "--json")):
        shown = await tunerd(*arguments, TUNERD_URL=stand_in.url)
        assert shown.json() == CATS
        assert (len(shown.out.splitlines()) == 1) is ("--json" in arguments)
    assert {seen[1] for seen in stand_in.seen} == {f"{PATH}/flux%20cats"}


async def test_one_that_is_not_there(tunerd, stand_in: StandIn) -> None:
    body = problem(404, "not_found", detail="There is no saved configuration 'x'.")
    stand_in.answer("GET", f"{PATH}/x", body, status=404, kind="application/problem+json")
    missing = await tunerd("configs", "x", TUNERD_URL=stand_in.url)
    assert missing.code == 1
    assert "There is no saved configuration 'x'." in missing.err
