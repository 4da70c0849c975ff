"""What a simulated trainer finds in the archive that its input names."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

from .uploads import Uploads

_INPUTS = ("images", "input_images")


def describe_dataset(given: Mapping[str, Any], uploads: Uploads) -> tuple[str, str | None]:
    """A line for the log, and the error that ends the run: an upload that has expired, or that is no archive."""
    url = next((given[name] for name in _INPUTS if isinstance(given.get(name), str)), None)
    if url is None:
        return "No dataset archive.", None
    ours, upload = uploads.by_url(url)
    if not ours:
        return f"Dataset: {url}", None
    if upload is None:
        return "Dataset: not found", f"404 Client Error: Not Found for url: {url}"
    count = _count(upload.data)
    if count is None:
        return f"Dataset: {upload.name}", f"{upload.name} is neither a zip nor a tar archive"
    return f"Dataset: {upload.name}, {len(upload.data)} bytes, {count} files", None


def _count(data: bytes) -> int | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return sum(not entry.is_dir() for entry in archive.infolist())
    except zipfile.BadZipFile:
        pass
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return sum(member.isfile() for member in tar)
    except tarfile.TarError:
        return None
