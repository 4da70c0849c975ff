"""``latest/CONFIG_NAME``: a link to the newest job of a configuration. A convenience: where links are not had, none."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog

from ...core.templates import slug
from ..errors import Permanent
from ..names import MANIFEST
from .folder import Folder, temporary_name

log = structlog.get_logger()

FOLDER = "latest"


class _Manifest(msgspec.Struct):
    completed_at: str | None = None  # RFC 3339, UTC: later ones sort later


def point_to(root: Path, config_name: str, job_id: str) -> None:
    """Have the link of ``config_name`` lead to ``job_id``'s folder, unless it leads to a job that completed later."""
    name = slug(config_name)
    if not name:
        return
    try:
        with Folder.opened(root, FOLDER) as folder:
            link = folder.path / name
            if link.is_symlink() and _completed(link) > _completed(root / job_id):
                return
            if link.exists() and not link.is_symlink():
                log.warning("latest_not_linked", link=str(link), reason="something else has that name")
                return
            temporary = temporary_name()
            os.symlink(f"../{job_id}", temporary, dir_fd=folder.descriptor)
            os.replace(temporary, name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
            folder.sync()
    except (OSError, Permanent) as problem:  # the model is delivered all the same
        reason = getattr(problem, "strerror", None) or str(problem)
        log.warning("latest_not_linked", link=f"{root / FOLDER / name}", reason=reason)


def _completed(folder: Path) -> str:
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest).completed_at or ""
    except (OSError, msgspec.MsgspecError):
        return ""
