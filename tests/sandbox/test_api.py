"""The API's answers beside the recorded ones."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest

from daemon.sandbox import Sandbox
from tests.sandbox.conftest import Api

UNKNOWN = {"detail": "The requested resource could not be found.", "status": 404}


async def test_account_hardware_secret(api: Api, sandbox: Sandbox) -> None:
    assert (await api.call("GET", "/v1/account"))["username"] == "acme"
    assert {"sku": "gpu-l40s", "name": "Nvidia L40S GPU"} in await api.call("GET", "/v1/hardware")
    assert await api.call("GET", "/v1/webhooks/default/secret") == {"key": sandbox.webhook_secret}


async def test_the_token_has_replicates_shape_and_is_asked_for(sandbox: Sandbox) -> None:
    assert re.fullmatch(r"r8_[0-9A-Za-z]{37}", sandbox.api_token)
    refused = {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}
    async with aiohttp.ClientSession() as session:
        for header, status in (
            (f"Bearer {sandbox.api_token}", 200),
            (f"Token {sandbox.api_token}", 200),
            (f"Basic {sandbox.api_token}", 401),
            ("Bearer r8_wrong", 401),
            ("", 401),
        ):
            async with session.get(sandbox.url + "/v1/account", headers={"Authorization": header}) as answer:
                assert answer.status == status
                if status == 401:
                    assert answer.content_type == "application/problem+json"
                    assert await answer.json(content_type=None) == refused


async def test_models_and_versions(api: Api) -> None:
    model = await api.call("GET", "/v1/models/simpletuner/advanced-trainer")
    listed = await api.call("GET", "/v1/models/simpletuner/advanced-trainer/versions")
    newest, older = listed["results"]
    assert model["latest_version"] == newest
    assert newest["created_at"] > older["created_at"]
    one = await api.call("GET", f"/v1/models/simpletuner/advanced-trainer/versions/{older['id']}")
    assert "config_json" in one["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
    assert await api.call("GET", "/v1/models/nobody/nothing", status=404) == UNKNOWN
    assert await api.call("GET", "/v1/nothing", status=404) == UNKNOWN
    assert "not allowed" in (await api.call("PUT", "/v1/account", status=405))["detail"]


async def test_versions_come_in_pages(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.page_size = 1
    first = await api.call("GET", "/v1/models/simpletuner/advanced-trainer/versions")
    second = await api.call("GET", first["next"])
    assert first["previous"] is None
    assert second["next"] is None
    assert first["results"][0]["created_at"] > second["results"][0]["created_at"]
    assert (await api.call("GET", second["previous"]))["results"] == first["results"]


async def test_a_destination_is_created_once(api: Api) -> None:
    wanted = {"owner": "acme", "name": "mine", "visibility": "private", "hardware": "gpu-l40s"}
    assert (await api.call("POST", "/v1/models", json=wanted, status=201))["latest_version"] is None
    await api.call("POST", "/v1/models", json=wanted, status=409)
    await api.call("POST", "/v1/models", json=wanted | {"owner": "else"}, status=404)
    await api.call("POST", "/v1/models", json=wanted | {"name": ""}, status=422)


async def test_the_answer_to_a_create_is_not_that_to_a_get(api: Api) -> None:
    async with api.session.post(
        api.sandbox.url + "/v1/predictions", json={"version": "acme/hello", "input": {"text": "<Alice>"}}
    ) as answer:
        raw = await answer.read()
        created = await answer.json()
        assert answer.status == 201
        assert answer.headers["ratelimit-remaining"] == "599"
    assert b"\\u003cAlice\\u003e" in raw and raw.endswith(b"}\n")
    assert list(created) == [
        "id",
        "model",
        "version",
        "input",
        "logs",
        "error",
        "status",
        "created_at",
        "urls",
        "data_removed",
    ]
    assert re.fullmatch(r"[0-9a-z]{26}", created["id"])
    shown = await api.get(created["id"])
    assert shown["created_at"] != created["created_at"]
    assert shown["output"] is None
    assert {key: shown[key] for key in ("id", "model", "version", "input", "status", "urls")} == {
        key: created[key] for key in ("id", "model", "version", "input", "status", "urls")
    }


@pytest.mark.parametrize("form", ["name", "name and version", "bare version"])
async def test_a_version_may_be_named_in_three_ways(api: Api, form: str) -> None:
    version = (await api.call("GET", "/v1/models/acme/hello/versions"))["results"][1]["id"]
    reference = {"name": "acme/hello", "name and version": f"acme/hello:{version}", "bare version": version}[form]
    done = await api.run(reference, text="Alice")
    assert done["output"] == "hello Alice"
    assert done["metrics"].keys() == {"predict_time", "total_time"}
    assert (done["version"] == version) == (form != "name")


@pytest.mark.parametrize("reference", ["simpletuner/advanced-trainer", "acme/hello:" + "0" * 64, "0" * 64, "nobody/x"])
async def test_only_official_models_run_without_a_version(api: Api, reference: str) -> None:
    body = {"version": reference, "input": {}}
    refusal = await api.call("POST", "/v1/predictions", json=body, status=422)
    assert refusal["title"] == "Invalid version or not permitted"


async def test_official_models_have_an_address_of_their_own(api: Api) -> None:
    body = {"input": {"text": "x"}}
    created = await api.call("POST", "/v1/models/acme/hello/predictions", json=body, status=201)
    assert created["model"] == "acme/hello"
    path = "/v1/models/simpletuner/advanced-trainer/predictions"
    assert await api.call("POST", path, json=body, status=404) == UNKNOWN


async def refusal(api: Api, **body: Any) -> list[tuple[str, str]]:
    answer = await api.call("POST", "/v1/predictions", json=body, status=422)
    assert answer["title"] == "Input validation failed"
    assert all(field["description"] in answer["detail"] for field in answer["invalid_fields"])
    return [(field["type"], field["field"]) for field in answer["invalid_fields"]]


async def test_inputs_are_checked(api: Api) -> None:
    answer = await api.call("POST", "/v1/predictions", json={"version": "acme/image", "input": {}}, status=422)
    assert answer == {
        "title": "Input validation failed",
        "detail": "- input: prompt is required\n",
        "status": 422,
        "invalid_fields": [{"type": "required", "field": "input", "description": "prompt is required"}],
    }
    image = {"version": "acme/image"}
    assert await refusal(api, **image, input={"prompt": 3}) == [("invalid_type", "input.prompt")]
    assert await refusal(api, **image, input={"prompt": "x", "num_outputs": 5}) == [("number_lte", "input.num_outputs")]
    assert await refusal(api, **image, input={"prompt": "x", "aspect_ratio": "2:1"}) == [("enum", "input.aspect_ratio")]
    assert await refusal(api, **image, input={"prompt": "x", "colour": 1}) == [
        ("additional_property_not_allowed", "input")
    ]
    assert await refusal(api, **image, input=[]) == [("invalid_type", "input")]
    assert await refusal(api, **image) == [("required", "(root)")]
    assert await refusal(api, input={}) == [("required", "(root)")]
    assert await refusal(api, version="acme/shapes", input={"shape": "square"}) == [("invalid_type", "input.sandbox")]


async def test_unknown_keys_and_events_are_refused(api: Api) -> None:
    hello = {"version": "acme/hello", "input": {"text": "x"}}
    assert await refusal(api, **hello, colour="red") == [("additional_property_not_allowed", "(root)")]
    assert await refusal(api, **hello, webhook="ftp://x/") == [("format", "webhook")]
    assert await refusal(api, **hello, webhook="https://x/", webhook_events_filter=["start", "failed"]) == [
        ("enum", "webhook_events_filter.1")
    ]


async def test_a_body_that_is_no_json(api: Api) -> None:
    assert "JSON" in (await api.call("POST", "/v1/predictions", data=b"{", status=400))["detail"]


async def test_trainings(api: Api, sandbox: Sandbox) -> None:
    version = (await api.call("GET", "/v1/models/acme/trainer/versions"))["results"][0]["id"]
    path = f"/v1/models/acme/trainer/versions/{version}/trainings"
    body = {"destination": "acme/my-lora", "input": {"steps": 3, "sandbox": {"run_seconds": 1}}, "anything": 1}
    refused = await api.call("POST", path, json=body | {"destination": "acme/none"}, status=404)
    assert refused == {"detail": "The specified training destination does not exist", "status": 404}
    created = await api.call("POST", path, json=body, status=201)
    assert "/v1/predictions/" in created["urls"]["get"]
    assert len(created["created_at"]) == len("2023-08-16T19:33:26.678378653Z")
    training = await api.call("GET", f"/v1/trainings/{created['id']}")
    assert training["urls"]["get"] == f"{sandbox.url}/v1/trainings/{created['id']}"
    await sandbox.predictions[created["id"]].done.wait()
    done = await api.get(created["id"])
    assert done["status"] == "succeeded"
    destination, _, made = done["output"]["version"].partition(":")
    assert destination == "acme/my-lora"
    versions = await api.call("GET", "/v1/models/acme/my-lora/versions")
    assert [each["id"] for each in versions["results"]] == [made]
    async with api.session.get(done["output"]["weights"]) as weights:
        assert weights.status == 200
    assert [each["id"] for each in (await api.call("GET", "/v1/trainings"))["results"]] == [created["id"]]
    assert (await api.call("GET", "/v1/predictions"))["results"] == []


async def test_a_training_is_canceled_before_it_starts(api: Api) -> None:
    version = (await api.call("GET", "/v1/models/acme/trainer/versions"))["results"][0]["id"]
    path = f"/v1/models/acme/trainer/versions/{version}/trainings"
    created = await api.call("POST", path, json={"destination": "acme/my-lora", "input": {"stuck": True}}, status=201)
    canceled = await api.call("POST", f"/v1/trainings/{created['id']}/cancel")
    assert canceled["status"] == "canceled"
    assert canceled["started_at"] is not None and canceled["completed_at"] is not None
    assert "/v1/predictions/" in canceled["urls"]["get"]
    assert (await api.call("POST", f"/v1/trainings/{created['id']}/cancel"))["status"] == "canceled"
    await api.call("POST", "/v1/trainings/none/cancel", status=404)


async def test_lists_are_newest_first_in_pages_and_without_logs(api: Api, sandbox: Sandbox) -> None:
    sandbox.faults.page_size = 2
    sandbox.faults.behaviour = {"stuck": True}  # a page looks the same at every look
    made = [(await api.predict("acme/hello", text=str(number)))["id"] for number in range(5)]
    pages = [await api.call("GET", "/v1/predictions")]
    while pages[-1]["next"]:
        pages.append(await api.call("GET", pages[-1]["next"]))
    assert [[each["id"] for each in page["results"]] for page in pages] == [made[:2:-1], made[2:0:-1], made[:1]]
    assert "logs" not in pages[0]["results"][0]
    back = await api.call("GET", pages[2]["previous"])
    assert back["results"] == pages[1]["results"]
    await api.call("GET", "/v1/predictions?cursor=nonsense", status=404)


async def test_lists_by_time_of_creation(api: Api) -> None:
    ids = []
    for number in range(3):
        ids.append((await api.predict("acme/hello", text=str(number)))["id"])
        await asyncio.sleep(0.01)
    middle = (await api.get(ids[1]))["created_at"]
    after = await api.call("GET", "/v1/predictions", params={"created_after": middle})
    before = await api.call("GET", "/v1/predictions", params={"created_before": middle})
    assert [each["id"] for each in after["results"]] == ids[2:]
    assert [each["id"] for each in before["results"]] == ids[:1]
    assert (await api.call("GET", "/v1/predictions?source=web"))["results"] == []
    await api.call("GET", "/v1/predictions?created_after=yesterday", status=400)


async def test_prefer_wait(api: Api, sandbox: Sandbox) -> None:
    body = {"version": "acme/hello", "input": {"text": "x"}}
    url = sandbox.url + "/v1/predictions"
    async with api.session.post(url, json=body, headers={"Prefer": "wait"}) as answer:
        done = await answer.json()
        assert (answer.status, done["status"], done["output"]) == (201, "succeeded", "hello x")
        assert answer.headers["Preference-Applied"] == "wait=60"
    slow = {"version": "acme/shapes", "input": {"run_seconds": 100}}
    async with api.session.post(url, json=slow, headers={"Prefer": "wait=2"}) as answer:
        assert (answer.status, (await answer.json())["status"]) == (202, "processing")
    async with api.session.post(url, json=slow, headers={"Prefer": "wait=0"}) as answer:
        assert answer.status == 422


@pytest.mark.parametrize(("behaviour", "status"), [({"stuck": True}, "aborted"), ({"run_seconds": 500}, "canceled")])
async def test_cancel_after(api: Api, sandbox: Sandbox, behaviour: dict[str, Any], status: str) -> None:
    body = {"version": "acme/shapes", "input": behaviour}
    created = await api.call("POST", "/v1/predictions", json=body, headers={"Cancel-After": "6s"}, status=201)
    assert created["deadline"] > created["created_at"]
    await asyncio.wait_for(sandbox.predictions[created["id"]].done.wait(), 30)
    done = await api.get(created["id"])
    assert (done["status"], done["error"], done["output"]) == (status, None, None)
    assert (done["started_at"] is None) == (status == "aborted")
    for wrong in ("4s", "soon", ""):
        await api.call("POST", "/v1/predictions", json=body, headers={"Cancel-After": wrong}, status=422)


async def test_refusals_that_are_rare(api: Api) -> None:
    for path in ("/v1/predictions", "/v1/models"):
        assert "Expected: object" in (await api.call("POST", path, json=[], status=422))["detail"]
    wrong: list[tuple[Any, str]] = [
        ({"prompt": None}, "Invalid type. Expected: string, given: null"),
        ({"prompt": True}, "Invalid type. Expected: string, given: boolean"),
        ({"prompt": "x", "seed": 1.5}, "Invalid type. Expected: integer, given: number"),
        ({"prompt": "x", "num_outputs": 0}, "Must be greater than or equal to 1"),
    ]
    for given, description in wrong:
        body = {"version": "acme/image", "input": given}
        answer = await api.call("POST", "/v1/predictions", json=body, status=422)
        assert [field["description"] for field in answer["invalid_fields"]] == [description]
    hello = {"version": "acme/hello", "input": {"text": "x"}, "webhook": "https://[x/"}
    await api.call("POST", "/v1/predictions", json=hello, status=422)
    hello |= {"webhook": "https://x/", "webhook_events_filter": "start"}
    await api.call("POST", "/v1/predictions", json=hello, status=422)
    await api.call("GET", f"/v1/models/acme/hello/versions/{'0' * 64}", status=404)
    path = f"/v1/models/acme/trainer/versions/{'0' * 64}/trainings"
    await api.call("POST", path, json={"destination": "acme/my-lora", "input": {}}, status=404)


async def test_http_webhooks_may_be_refused(api: Api, sandbox: Sandbox) -> None:
    body = {"version": "acme/hello", "input": {"text": "x"}, "webhook": "http://127.0.0.1:1/"}
    await api.call("POST", "/v1/predictions", json=body, status=201)
    sandbox.faults.refuse_http_webhooks = True
    await api.call("POST", "/v1/predictions", json=body, status=422)
