"""Every key under which the web application holds its parts."""

from __future__ import annotations
