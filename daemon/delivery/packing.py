"""What a destination is given of a job: the staged files, and what the manifest and the model card say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ..core import lenient_json
from ..replicate import outgoing
from ..store.records import Job
from .destinations.base import Package, StagedFile


def package_of(job: Job, folder: Path, files: list[dict[str, Any]]) -> Package:
    """``files`` of ``{name, bytes, sha256, source_url}`` are in ``folder``, their run's."""
    return Package(
        job_id=job.job_id,
        provider_job_id=job.provider_job_id,
        model=job.model,
        version=job.version,
        completed_at=job.completed_at,
        files=tuple(StagedFile(path=folder / file["name"], **file) for file in files),
        output=_decoded(job.output) if not files else None,
        config_name=job.config_name,
        hardware=job.hardware,
        metadata=lenient_json.object_(job.metadata or ""),
        input=_input(job.request),
    )


def _decoded(output: str | None) -> Any:
    return None if output is None else lenient_json.value(output, output)


def _input(request: str | None) -> dict[str, Any]:
    """What we sent to the model; secrets are redacted in it since it was written down."""
    try:
        return {} if request is None else outgoing.decode(request).input
    except msgspec.MsgspecError:  # another version of this program wrote it
        return {}
