"""The prose of the OpenAPI document: what each field means, what groups there are, what a body looks like.

Fields are explained by their name, once for the whole API: the same word means the same thing everywhere. Where it does
not, ``Type.field`` says what it means there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .openapi_fields import FIELDS

ABOUT = """\
Cloud training on Replicate: submit a job, take its signed webhooks, keep every event, deliver the model.

- **Who may call**: the webhook receiver, `/healthz` and `/readyz` are open; everything else is the admin's: straight
  from loopback, or with `Authorization: Bearer` and the admin token. Browsers of other sites are refused.
- **Errors** are `application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail` (what to do next) and a
  stable `code`. A method that is not listed is answered 405 with `Allow`, a path that is not, 404. What nobody
  expected is a 500 whose `X-Request-ID` header finds its lines in the log.
- **GET** answers `HEAD` too. Every answer carries `X-Request-ID`: the trusted proxy's, else one of ours.
- Times are RFC 3339 in UTC, money is US dollars. Unknown fields of answers may be added; ignore what you do not know.
"""

TAGS: Mapping[str, str] = {
    "receiver": "Where Replicate sends its events",
    "jobs": "Jobs: list, one, its files; cancel and redeliver",
    "submit": "Submit a training or any model, and what it would cost",
    "configs": "Configurations saved under a name",
    "events": "The journal: every event, byte for byte",
    "stream": "Events as they arrive, as Server-Sent Events",
    "logs": "A job's log, whole or as it grows, and the curves in it",
    "providers": "The provider's settings, token, versions",
    "costs": "What was spent, the limit, prices",
    "publishing": "Where results go",
    "sessions": "Logins of the web page",
    "status": "The provider's own status page",
    "health": "Liveness and readiness",
    "metrics": "For Prometheus",
    "openapi": "This document",
    "deliveries": "Deliveries of all jobs: those that failed, and trying them again",
    "allowlist": "The IP rule: ranges, verdicts, whom it turned away",
    "alerts": "What needs attention now",
    "notifications": "Who else is told of what happens, by signed webhooks of ours",
    "pictures": "Pictures of a job's output, before they are delivered",
    "diagnosis": "What can be wrong, checked, each with its fix",
    "uploads": "Folders of a dataset, sent from a browser in slices",
    "verify": "An event's signature, checked again",
    "files": "Files that were delivered to this machine",
    "process": "The daemon as a process: what it runs with, and reading it again",
    "pages": "The web page and its files",
}

PATH_PARAMETERS: Mapping[str, str] = {
    "job_id": "The job's id: ours (`job_…`) or the provider's",
    "seq": "The event's sequence number",
    "session_id": "The login's id, as the list shows it",
    "upload_id": "The upload's id, as its beginning gave it",
    "digest": "What the page's files hash to: another build has other addresses",
    "folder": "A folder of the page's files",
    "name": "A file's name",
}

_TRAINING = {
    "config_name": "my-lora",
    "config": {"model_type": "lora", "model_family": "flux", "max_train_steps": 1000, "learning_rate": 1e-4},
    "dataloader_config": [{"id": "images", "type": "local", "instance_data_dir": "/data/my-subject"}],
    "hub_model_id": "me/my-lora",
}
_MODEL = {"model": "black-forest-labs/flux-schnell", "input": {"prompt": "a disc of light"}, "metadata": {"for": "me"}}

# (method, path) → name → example of the request's body.
EXAMPLES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/cloud/jobs/submit"): {
        "training": {"summary": "A SimpleTuner training with a folder of images", "value": _TRAINING},
        "any_model": {"summary": "A prediction of any Replicate model", "value": _MODEL},
        "dry_run": {"summary": "What would be sent", "value": {**_MODEL, "dry_run": True}},
    },
    ("POST", "/api/cloud/cost-estimate"): {
        "training": {"summary": "The same body as a submit", "value": {**_TRAINING, "hardware": "gpu-a100-large"}}
    },
    ("POST", "/api/cloud/jobs/{job_id}/redeliver"): {
        "all": {"summary": "To every destination", "value": {}},
        "one": {"summary": "To one, by its name", "value": {"destinations": ["local"]}},
    },
    ("PUT", "/api/cloud/providers/replicate"): {
        "webhook": {"summary": "Where Replicate reaches us", "value": {"webhook_url": "https://tunerd.example.com"}},
        "limit": {
            "summary": "At most 50 dollars a month",
            "value": {"cost_limit_enabled": True, "cost_limit_amount": 50, "cost_limit_action": "block"},
        },
    },
    ("PUT", "/api/cloud/providers/replicate/token"): {
        "token": {
            "summary": "As Replicate shows it once",
            "value": {"api_token": "r8_Example0123456789abcdefghijklmnop"},
        }
    },
    ("PUT", "/api/cloud/publishing"): {
        "local": {
            "summary": "One folder",
            "value": {"destinations": [{"name": "local", "type": "local", "options": {"path": "/srv/models"}}]},
        }
    },
}


def described(components: Mapping[str, Any]) -> dict[str, Any]:
    """``components`` with a description for each property that has none of its own."""
    return {name: _described(name.rpartition(".")[2], schema) for name, schema in components.items()}


def _described(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return dict(schema)
    told = {}
    for field, known in properties.items():
        says = FIELDS.get(f"{name}.{field}") or FIELDS.get(field)
        told[field] = {**known, "description": says} if says and "description" not in known else known
    return {**schema, "properties": told}
