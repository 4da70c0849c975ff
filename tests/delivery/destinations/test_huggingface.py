"""What is the Hub's own: one commit made exactly once, the model card, what the Hub refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web

from daemon.config import Settings, load_settings
from daemon.core.options import OptionInvalid
from daemon.delivery.destinations import huggingface
from daemon.delivery.destinations.base import Package, Place
from daemon.delivery.errors import Permanent, Retry
from tests.delivery.destinations.counterparts import Repos
from tests.support.gate import once
from tests.support.hub import TOKEN, Hub, status
from tests.support.packages import Reports, package, place, staged

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own call

CONFIG = {
    "--model_family": "flux",
    "--model_type": "lora",
    "--lora_rank": 16,
    "--learning_rate": "1e-4",
    "--max_train_steps": 1000,
    "--instance_prompt": 'a photo of sks: "cat" 🐈 \u2028 #1',
    "--validation_prompt": "sks cat | on a mat",
    "--output_dir": "/home/me/outputs",
    "--data_backend_config": "config/multidatabackend.json",
    "--tracker_run_name": "my-private-run",
    "--hub_token": "hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "--some_path": "/home/me/secret/place",
    "--some_url": "https://me:pw@example.com/x?sig=1",
}
FILES = {"lora.safetensors": os.urandom(3000), "sample 1.png": b"\x89PNG\0" + os.urandom(50)}


@pytest.fixture
def here(settings: Settings) -> Place:
    return place(settings)


@pytest.fixture
def job(tmp_path: Path) -> Package:
    given = {"config_json": json.dumps(CONFIG), "hf_token": "[redacted]", "images": "https://api.replicate.com/x"}
    return package(staged(tmp_path / "staging", FILES), config_name="my cat", input=given, hardware="gpu-l40s")


def front_matter(card: bytes) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.decode().split("---\n")[1])
    return found


async def test_one_commit_with_a_card(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    assert await asyncio.to_thread(huggingface.publish, job, repos.options, here) == f"{hub.url}/me/job_abc"
    repo = hub.repos["me/job_abc"]
    assert repo.private and [commit["title"] for commit in repo.commits] == ["initial commit", "Add my cat"]
    card = repo.files()["README.md"]
    metadata = front_matter(card)
    assert metadata["license"] == "other" and metadata["license_name"] == "flux-1-dev-non-commercial-license"
    assert metadata["base_model"] == "black-forest-labs/FLUX.1-dev" and metadata["base_model_relation"] == "adapter"
    assert metadata["tags"] == ["flux", "lora", "diffusers", "replicate"]
    assert metadata["instance_prompt"] == 'a photo of sks: "cat" 🐈 #1'
    assert metadata["widget"] == [{"text": "sks cat | on a mat", "output": {"url": "sample 1.png"}}]
    text = card.decode()
    assert "| `learning_rate` | 1e-4 |" in text and "![sample 1.png](<./sample 1.png>)" in text
    for hidden in ("/home/", "hf_aaa", "redacted", "private-run", "example.com", "api.replicate.com", "multidata"):
        assert hidden not in text


async def test_the_user_s_own_words_win(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    options = msgspec.structs.replace(
        repos.options, license="mit", base_model="acme/base", tags=("style", "lora"), private=False
    )
    await asyncio.to_thread(huggingface.publish, job, options, here)
    repo = hub.repos["me/job_abc"]
    metadata = front_matter(repo.files()["README.md"])
    assert (metadata["license"], metadata["base_model"]) == ("mit", "acme/base")
    assert metadata["tags"] == ["style", "lora", "flux", "diffusers", "replicate"] and not repo.private
    repo.commit("mine", {"README.md": (False, b"# My own")})
    await asyncio.to_thread(huggingface.publish, job, options, here)
    assert repo.files()["README.md"] == b"# My own" and len(repo.commits) == 3


async def test_a_job_of_which_nothing_is_known(repos: Repos, hub: Hub, here: Place, tmp_path: Path) -> None:
    job = package(staged(tmp_path / "staging", {"a.bin": b"\0"}), model=None, provider_job_id=None, completed_at=None)
    await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    assert front_matter(hub.repos["me/job_abc"].files()["README.md"]) == {"license": "unknown", "tags": ["replicate"]}


async def test_a_card_among_the_outputs_is_the_card(repos: Repos, hub: Hub, here: Place, tmp_path: Path) -> None:
    own = b"---\nlicense: mit\n---\n# From the trainer\n"
    await asyncio.to_thread(
        huggingface.publish, package(staged(tmp_path / "staging", {"README.md": own})), repos.options, here
    )
    assert hub.repos["me/job_abc"].files()["README.md"] == own
    bad = package(staged(tmp_path / "bad", {"README.md": b"---\nlicense: [1\n---\n"}), job_id="job_bad")
    with pytest.raises(Permanent, match="not valid"):
        await asyncio.to_thread(huggingface.publish, bad, repos.options, here)
    assert len(hub.repos["me/job_bad"].commits) == 1


async def test_the_job_s_own_repository_wins(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    named = msgspec.structs.replace(job, metadata={"hub_model_id": "acme/my-lora"})
    assert await asyncio.to_thread(huggingface.publish, named, repos.options, here) == f"{hub.url}/acme/my-lora"
    assert set(hub.repos) == {"acme/my-lora"}
    for wrong in ("my-lora", "a/b/c", "acme/..", "acme/a--b", "acme/x.git"):
        with pytest.raises(Permanent, match=r"owner/name is expected|ends in \.git"):
            await asyncio.to_thread(
                huggingface.publish, msgspec.structs.replace(job, metadata={"hub_model_id": wrong}), repos.options, here
            )


async def test_a_lost_answer_is_no_second_commit(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    hub.lose = once("POST", "/commit/")
    await asyncio.to_thread(huggingface.publish, job, repos.options, here)  # the head tells that it was done
    assert len(hub.repos["me/job_abc"].commits) == 2 and hub.called("/commit/") == 1


async def test_a_commit_that_was_not_made_is_tried_again(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    hub.faults["/commit/"] = [status(500)]
    with pytest.raises(Retry, match="500"):
        await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    assert len(hub.repos["me/job_abc"].commits) == 2
    assert hub.called("/lfs/verify") == 2  # both files went up once, in the first attempt


async def test_somebody_else_s_commit_in_between(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    def intrude(_request: Any) -> None:
        hub.repos["me/job_abc"].commit("by hand", {"notes.txt": (False, b"mine")})

    hub.faults["/commit/"] = [intrude]
    with pytest.raises(Retry, match="412"):
        await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    repo = hub.repos["me/job_abc"]
    assert [commit["title"] for commit in repo.commits] == ["initial commit", "by hand", "Add my cat"]
    assert repo.files()["notes.txt"] == b"mine"


async def test_what_the_hub_asks_us_to_wait_is_kept(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    hub.faults["/commit/"] = [status(429, Retry_After="7"), status(429, RateLimit='"api";r=0;t=55'), status(429)]
    for seconds in (7.0, 55.0, 60.0):
        with pytest.raises(Retry, match="429") as raised:
            await asyncio.to_thread(huggingface.publish, job, repos.options, here)
        assert raised.value.after == seconds


@pytest.mark.parametrize(
    ("code", "says"), [(401, "set HF_TOKEN"), (403, "write access"), (404, "no such repository"), (413, "larger")]
)
async def test_refusals_for_good(repos: Repos, hub: Hub, here: Place, job: Package, code: int, says: str) -> None:
    hub.faults["/commit/"] = [status(code)]
    with pytest.raises(Permanent, match=says) as raised:
        await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    assert TOKEN not in str(raised.value)


async def test_tokens(repos: Repos, hub: Hub, here: Place, job: Package, tmp_path: Path, monkeypatch: Any) -> None:
    wrong = msgspec.structs.replace(repos.options, token="hf_wrongwrongwrongwrong")
    for attempt in (partial(huggingface.publish, job, wrong, here), partial(huggingface.check, wrong, here)):
        with pytest.raises(Permanent, match="set HF_TOKEN") as raised:
            await asyncio.to_thread(attempt)
        assert "wrongwrong" not in str(raised.value)
    none = msgspec.structs.replace(repos.options, token=None, endpoint=None)
    environ = {"HOME": str(tmp_path), "HF_TOKEN": TOKEN, "HF_ENDPOINT": hub.url}
    settings = load_settings(environ=environ)
    assert TOKEN not in repr(settings)
    await asyncio.to_thread(huggingface.publish, job, none, place(settings))
    assert await asyncio.to_thread(huggingface.check, none, place(settings)) == [
        "the token is me's",
        "it may write for me",
    ]
    hub.role = "read"
    with pytest.raises(Permanent, match="may only read"):
        await asyncio.to_thread(huggingface.check, none, place(settings))


async def test_a_token_that_the_hub_s_own_login_saved(
    repos: Repos, hub: Hub, here: Place, job: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``hf auth login`` keeps it in a file."""
    options = msgspec.structs.replace(repos.options, token=None)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(Permanent, match="set HF_TOKEN"):
        await asyncio.to_thread(huggingface.check, options, here)
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert "the token is me's" in await asyncio.to_thread(huggingface.check, options, here)
    await asyncio.to_thread(huggingface.publish, job, options, here)


async def test_a_hub_that_does_not_answer(here: Place, job: Package) -> None:
    options = huggingface.Options(repo_id="me/x", token=TOKEN, endpoint="http://127.0.0.1:9")
    with pytest.raises(Retry, match="no answer from the Hub"):
        await asyncio.to_thread(huggingface.publish, job, options, here)


async def test_something_else_in_the_hub_s_place(repos: Repos, hub: Hub, here: Place, job: Package) -> None:
    hub.faults["/api/"] = [lambda _: web.Response(text="<h1>Gateway</h1>", content_type="text/html")] * 3
    with pytest.raises(Retry, match="not the Hub"):
        await asyncio.to_thread(huggingface.publish, job, repos.options, here)


async def test_xet_unless_it_is_turned_off(repos: Repos, hub: Hub, here: Place, tmp_path: Path) -> None:
    """There is no Xet behind the stub: that it is asked for is all that can be seen here."""
    job = package(staged(tmp_path / "staging", {"m.safetensors": os.urandom(5000)}))
    await asyncio.to_thread(huggingface.publish, job, repos.options, here)
    assert hub.called("/xet-write-token/") == 0 and hub.called("/objects/") > 0
    hub.requests.clear()
    large = package(staged(tmp_path / "more", {"m.safetensors": os.urandom(5000)}), job_id="job_xet")
    hub.faults["/xet-write-token/"] = [status(403)] * 20
    with pytest.raises((Permanent, Retry)):
        await asyncio.to_thread(huggingface.publish, large, msgspec.structs.replace(repos.options, xet=True), here)
    assert hub.called("/xet-write-token/") > 0 and hub.called("/objects/") == 0
    assert len(hub.repos["me/job_xet"].commits) == 1


@pytest.mark.parametrize("repo_id", ["{job_id}", "me/{jobid}", "me/a b", "me/{job_id}--x", "https://hf.co/me/x"])
def test_a_template_that_names_no_repository(repo_id: str) -> None:
    with pytest.raises(OptionInvalid) as raised:
        huggingface.Options(repo_id=repo_id)
    assert raised.value.field == "repo_id"


KILLED = """
import sys
from pathlib import Path
import msgspec
from daemon.delivery.destinations import huggingface
from daemon.delivery.hub.repo import Repo
from tests.support.outputs import settings_for
from tests.support.packages import package, place, staged

folder = Path(sys.argv[1])
options = msgspec.json.decode(sys.argv[2], type=huggingface.Options)
job = package(staged(folder / "staging", {"m.safetensors": (folder / "content").read_bytes()}))
commit = Repo.commit

def committed(*arguments, **more):
    commit(*arguments, **more)
    print("committed", flush=True)
    import time; time.sleep(60)

Repo.commit = committed
huggingface.publish(job, options, place(settings_for(folder, "http://127.0.0.1:9")))
"""


async def test_killed_between_the_commit_and_its_mark(repos: Repos, hub: Hub, here: Place, tmp_path: Path) -> None:
    (tmp_path / "content").write_bytes(os.urandom(5000))
    arguments = [str(tmp_path), msgspec.json.encode(repos.options).decode()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, *arguments, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"committed\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    job = package(staged(tmp_path / "staging", {"m.safetensors": (tmp_path / "content").read_bytes()}))
    reports = Reports()
    await asyncio.to_thread(huggingface.publish, job, repos.options, place(here.settings, reports))
    assert len(hub.repos["me/job_abc"].commits) == 2 and hub.called("/commit/") == 1
    assert reports.all[-1] == (5000, 5000)
