"""Pages need the files that the build hook fetches."""

from __future__ import annotations

from tests.support.vendor import vendor_files

__all__ = ["vendor_files"]
