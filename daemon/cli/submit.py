"""``tunerd submit``: a training from a configuration, or any model with its input."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from . import output
from .client import Client
from .exits import Unreachable, Usage
from .options import Json
from .submitting import shown
from .training_files import read_json, read_training

PATIENCE = 900.0  # seconds: the daemon packs and uploads up to 100 MiB before it answers

MOST_LEFT_OUT = 20  # files that are named on a terminal


def submit(
    model: Annotated[str | None, Parameter(help="OWNER/NAME of any Replicate model.")] = None,
    /,
    *inputs: Annotated[str, Parameter(help="key=value of the model's input; JSON where it parses; key=@FILE.json.")],
    config: Annotated[Path | None, Parameter(help="SimpleTuner's config.json, with the files it names.")] = None,
    dataset: Annotated[list[Path] | None, Parameter(help="Folder with images and captions; repeatable.")] = None,
    name: Annotated[str | None, Parameter(help="A name for the training; alone, a saved configuration.")] = None,
    version: Annotated[str | None, Parameter(help="Version of the model.")] = None,
    hardware: Annotated[str | None, Parameter(help="Hardware to run on.")] = None,
    hub_model_id: Annotated[str | None, Parameter(help="Hugging Face repository to push to.")] = None,
    to: Annotated[list[str] | None, Parameter(help="Deliver only to this destination; repeatable.")] = None,
    webhook_url: Annotated[str | None, Parameter(help="Other public URL of the daemon for this job.")] = None,
    idempotency_key: Annotated[str | None, Parameter(help="Submitting twice with one key makes one job.")] = None,
    dry_run: Annotated[bool, Parameter(help="Show the request and send nothing.")] = False,
    wait: Annotated[bool, Parameter(help="Follow the job to its end, as tunerd wait.")] = False,
    as_json: Json = False,
) -> int:
    """Submit a training, or a prediction of any Replicate model.

    For example:

      tunerd submit --config flux-lora.json --dataset ./cats --wait
      tunerd submit black-forest-labs/flux-schnell prompt="a cat" num_outputs=2
      tunerd submit owner/model settings=@settings.json --dry-run
    """
    training, data = (None, None) if config is None else read_training(config, with_data=not dataset)
    body = {
        "model": model,
        "input": read_inputs(inputs) if model is not None else None,
        "config": training,
        "dataloader_config": [dataset_entry(folder) for folder in dataset] if dataset else data,
        "config_name": name if name is not None or config is None else config.stem,
        "version": version,
        "hardware": hardware,
        "hub_model_id": hub_model_id,
        "destinations": to or None,
        "webhook_url": webhook_url,
        "dry_run": dry_run or None,
    }
    if model is None and config is None and not dataset and name is None:
        raise Usage("submit: MODEL key=value …, --config FILE or --dataset DIR is needed.\nTry: tunerd submit --help")
    if model is not None and "/" not in model:
        raise Usage(f"submit: {model!r} is not a model; OWNER/NAME is expected.")
    client = Client.from_environment()
    given = {key: value for key, value in body.items() if value is not None}
    answer = _send(client, given, idempotency_key, quiet=as_json)
    if dry_run:
        print(json.dumps(answer, indent=None if as_json else 2), flush=True)
        if not as_json:
            _tell_verdicts(answer)
        return 0
    if not as_json:
        _tell(answer)
    if not wait:
        if as_json:
            output.print_json(answer)
        return 0
    return _follow(client, answer, as_json)


def _send(client: Client, body: dict[str, Any], idempotency_key: str | None, *, quiet: bool) -> dict[str, Any]:
    """The answer. Where it was lost, the job may be there: the key with which a second try makes no second job."""
    key = idempotency_key or f"cli-{secrets.token_hex(16)}"
    try:
        with shown(client, key, quiet=quiet):
            answer = client.call(
                "POST", "/api/cloud/jobs/submit", body=body, headers={"Idempotency-Key": key}, timeout=PATIENCE
            )
    except (Unreachable, KeyboardInterrupt) as problem:
        if not body.get("dry_run") and (isinstance(problem, KeyboardInterrupt) or problem.sent):
            output.remark(
                "The answer was lost: the job may have been submitted (tunerd jobs). To get its answer without a "
                f"second job, run the same command again with --idempotency-key {key}"
            )
        raise
    found: dict[str, Any] = answer.json()
    return found


def _follow(client: Client, answer: dict[str, Any], as_json: bool) -> int:
    from .wait import exit_code, report
    from .watch import follow

    job = follow(client, answer["job_id"], quiet=as_json)
    if as_json:
        output.print_json({**answer, "status": job["status"], "job": job})
    else:
        report(job)
    return exit_code(job)


def _tell(answer: dict[str, Any]) -> None:
    again = " (submitted before with this key)" if answer.get("idempotent_hit") else ""
    print(output.clean(f"{answer['job_id']} {answer['status']}{again}"), flush=True)
    estimate = answer.get("cost_estimate") or {}
    if estimate.get("expected_usd") is not None:
        low, high = output.dollars(estimate.get("low_usd")), output.dollars(estimate.get("high_usd"))
        output.remark(f"estimated cost: {output.dollars(estimate['expected_usd'])} ({low} to {high})")
    left_out = answer.get("data_left_out") or []
    for item in left_out[:MOST_LEFT_OUT]:
        output.remark(f"left out: {item['name']} ({item['reason']})")
    if len(left_out) > MOST_LEFT_OUT:
        output.remark(f"left out: {len(left_out) - MOST_LEFT_OUT} more files; --json lists them")
    for note in (*(answer.get("data_notes") or []), answer.get("webhook_warning")):
        if note:
            output.remark(note)
    if answer.get("cost_limit_warning"):
        output.remark(f"cost limit: {answer['cost_limit_warning']}")


def _tell_verdicts(answer: dict[str, Any]) -> None:
    """What a submit would be told, once more for people: it stands at the end of a long document."""
    for check in answer.get("checks") or []:
        output.remark(f"{check['status']:<4}  {check['id'].replace('_', ' ')}: {check['detail']}")
    output.remark("Nothing was sent.")


def dataset_entry(folder: Path) -> dict[str, Any]:
    """An entry of SimpleTuner's dataloader configuration for a folder on the daemon's machine."""
    return {
        "id": folder.absolute().name or "dataset",
        "type": "local",
        "instance_data_dir": str(folder.expanduser().absolute()),
        "caption_strategy": "textfile",
    }


def read_inputs(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``key=value`` pairs; the value is JSON where it parses, else text; ``key=@FILE.json`` reads a file."""
    return dict(map(read_pair, pairs))


def read_pair(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    if not equals or not key:
        raise Usage(f"{pair!r}: key=value is expected.")
    return key, read_json(Path(text[1:])) if text.startswith("@") else read_value(text)


def read_value(text: str) -> Any:
    """JSON where it is JSON (no NaN: that is Python's own), else the text itself."""
    try:
        return json.loads(text, parse_constant=lambda _: text)
    except ValueError:
        return text
