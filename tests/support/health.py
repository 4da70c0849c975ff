"""What the Health page's endpoint answers, each check by its id; what holds of any answer is asserted."""

from __future__ import annotations

from typing import Any

from daemon.checks.all import CHECKS
from tests.support.webapp import Served

QUIET = {"TUNERD_STATUS_URL": "http://127.0.0.1:9/"}  # nobody listens there


async def checks(served: Served) -> dict[str, Any]:
    answer = await served.get("/api/cloud/health?fresh=true")
    found = {check["id"]: check for check in answer["checks"]}
    assert list(found) == [check.id for check in CHECKS]
    for check in found.values():
        assert check["title"]
        assert check["detail"]
        assert check["status"] in {"ok", "unknown"} or check["fix"], check
    worst = {check["status"] for check in found.values()}
    assert answer["status"] == ("fail" if "fail" in worst else "warn" if "warn" in worst else "ok")
    return found
