"""``manifest.json``: what a delivery holds. The same bytes for the same package: publishing again compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..core.times import rfc3339
from .destinations.base import Package


def manifest(package: Package, unpacked: Sequence[dict[str, Any]] = ()) -> bytes:
    """``unpacked``: of each archive, where its content went or why it did not."""
    content: dict[str, Any] = {
        "job_id": package.job_id,
        "provider_job_id": package.provider_job_id,
        "model": package.model,
        "version": package.version,
        "completed_at": rfc3339(package.completed_at),
        "files": [
            {"name": file.name, "bytes": file.bytes, "sha256": file.sha256, "source_url": file.source_url}
            for file in package.files
        ],
    }
    if not package.files:
        content["output"] = package.output
    if unpacked:
        content["unpacked"] = list(unpacked)
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
