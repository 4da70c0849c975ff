"""A simulated Replicate: REST API, signed webhooks, output files, faults on request."""

from __future__ import annotations

from .content import content_sha256
from .faults import Faults
from .server import Sandbox, serve_sandbox

__all__ = ["Faults", "Sandbox", "content_sha256", "serve_sandbox"]
