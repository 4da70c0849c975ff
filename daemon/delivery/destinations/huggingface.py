"""The Hugging Face Hub: one commit with every file and a model card, made exactly once.

The branch's head is read first: where all is there already, nothing is done. The commit names that head as its parent,
so two of them cannot both succeed; where its answer is lost, the head is read again.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ...core import templates
from ...core.hub_names import hub_repo
from ...core.options import SECRET, OptionInvalid
from ..errors import Permanent
from ..hub.card import MADE, model_card
from ..hub.repo import File, Repo
from ..manifest import manifest
from ..names import MANIFEST
from .base import Counter, Package, Place

CARD = "README.md"
MAX_CARD_BYTES = 2_000_000  # somebody's own that is longer is kept, too


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model repository on the Hugging Face Hub, or on a server of its kind."""

    TITLE: ClassVar[str] = "Hugging Face Hub"

    repo_id: Annotated[
        str,
        Meta(
            title="Repository",
            description="`owner/name`, a template. A job's own `hub_model_id` wins over it. It is made where it is "
            "missing. Without `{job_id}` or another name of the job, later jobs add to the same repository.",
        ),
    ]
    private: Annotated[
        bool, Meta(title="Private", description="Of a repository that is made; one that is there stays as it is.")
    ] = True
    token: Annotated[
        str | None,
        Meta(
            title="Token",
            description="With write access. None: `HF_TOKEN`.",
            extra_json_schema=SECRET,
        ),
    ] = None
    endpoint: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^\s/@]+[^\s@]*$")] | None,
        Meta(
            title="Endpoint",
            description="Another server than `HF_ENDPOINT` or huggingface.co.",
            extra={"hint": "a URL is expected: https://host, without user name and password"},
        ),
    ] = None
    license: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.+-]{0,63}$")] | None,
        Meta(
            title="License",
            description="Its identifier on the Hub, for the model card. None: the base model's where it is known, else "
            "`unknown`.",
            extra={"hint": "an identifier of the Hub is expected: apache-2.0, openrail++, other"},
        ),
    ] = None
    base_model: Annotated[
        str | None, Meta(title="Base model", description="For the model card. None: as the training's settings tell.")
    ] = None
    tags: Annotated[
        tuple[str, ...], Meta(title="Tags", description="More of them for the model card; a list, or comma-separated.")
    ] = ()
    xet: Annotated[
        bool,
        Meta(
            title="Xet",
            description="Send large files by Xet, the Hub's own way. Off: by LFS, which servers of its kind know, and "
            "which tells how far it is.",
        ),
    ] = True

    def __post_init__(self) -> None:
        try:
            templates.check(self.repo_id)
            sample = templates.values(
                job_id="a", provider_job_id="a", config_name="a", model="a", version="a", completed_at=0.0
            )
            hub_repo(templates.render(self.repo_id, sample))
        except ValueError as problem:
            raise OptionInvalid("repo_id", str(problem)) from None
        if self.base_model is not None:
            try:
                hub_repo(self.base_model)
            except ValueError as problem:
                raise OptionInvalid("base_model", str(problem)) from None


def publish(package: Package, options: Options, place: Place) -> str:
    """Commit ``package`` there; the repository's URL."""
    sent = Counter(package.bytes, place)
    repo = _repo(_repo_id(package, options), options, place, sent)
    files = _files(package, options)
    place.check_stopping()
    repo.make(private=options.private)
    head = repo.head()
    own = repo.read(CARD, head, MAX_CARD_BYTES)
    if own is not None and MADE.encode() not in own and not _brings_card(package):
        del files[CARD]  # somebody's own words stay
    missing = repo.missing(files, head)
    if missing:
        done = sum(file.bytes for file in package.files if file.name not in missing)
        sent.add(done)
        title = f"Add {package.config_name or package.job_id}"
        text = f"Job {package.job_id}" + (f", {package.model}" if package.model else "")
        repo.commit({name: files[name] for name in missing}, head, title, text, xet=options.xet)
    sent.finish()
    return repo.url


def _repo_id(package: Package, options: Options) -> str:
    own = package.metadata.get("hub_model_id")
    wanted = str(own) if own else package.rendered(options.repo_id)
    try:
        return hub_repo(wanted)
    except ValueError as problem:
        raise Permanent(f"the repository's name {wanted[:200]!r}: {problem}") from None


def _files(package: Package, options: Options) -> dict[str, File]:
    files = {file.name: File(file.path, file.bytes, file.sha256) for file in package.files}
    if not package.files:  # a text
        files[MANIFEST] = _small(manifest(package))
    if not _brings_card(package):
        card = model_card(package, license_=options.license, base_model=options.base_model, tags=options.tags)
        files[CARD] = _small(card.encode())
    return files


def _brings_card(package: Package) -> bool:
    return any(file.name == CARD for file in package.files)


def _small(content: bytes) -> File:
    return File(content, len(content), hashlib.sha256(content).hexdigest())


def check(options: Options, place: Place) -> list[str]:
    """Whose token it is, and whether it may write for the repository's owner. Nothing is made."""
    owner = options.repo_id.partition("/")[0]
    repo = _repo("a/a", options, place, Counter(0, place))
    account = repo.who()
    name = str(account.get("name"))
    checked = [f"the token is {name}'s"]
    role = str(account.get("auth", {}).get("accessToken", {}).get("role", ""))
    if role == "read":
        raise Permanent(f"the token is {name}'s and may only read: make one with write access")
    names = {name, *(str(one.get("name")) for one in account.get("orgs", ()))}
    if "{" not in owner and owner.lower() not in {one.lower() for one in names}:
        raise Permanent(f"the token is {name}'s, who is not {owner} and no member of it")
    if role == "write":
        checked.append(f"it may write for {owner}")
    return checked


def _repo(repo_id: str, options: Options, place: Place, sent: Counter) -> Repo:
    settings = place.settings
    return Repo(
        repo_id,
        options.endpoint or settings.hf_endpoint,
        options.token or settings.hf_token,
        place.check_stopping,
        sent.add,
    )
