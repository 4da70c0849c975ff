"""An upload of nearly the largest archive leaves the daemon's memory as it is."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

from daemon.sandbox.server import Sandbox
from tests.support.daemon import Daemon

MIB = 2**20
MOST_GROWTH = 40 * MIB


def write_noise(folder: Path, mebibytes: int) -> None:
    folder.mkdir()
    chance = random.Random(mebibytes)
    for number in range(mebibytes):
        (folder / f"a dog, number {number}.png").write_bytes(chance.randbytes(MIB - 512))


def order(folder: Path) -> dict[str, Any]:
    dataset = {"id": "dogs", "type": "local", "instance_data_dir": str(folder), "caption_strategy": "filename"}
    return {"config": {"--max_train_steps": 10}, "dataloader_config": [dataset]}


def peak(process: Any) -> int:
    """The most resident memory since the last ``forget_peak``, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def forget_peak(process: Any) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


async def test_99_mib_are_uploaded_in_flat_memory(daemon: Daemon, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.behaviour = {"stuck": True}
    write_noise(tmp_path / "few", 1)
    write_noise(tmp_path / "many", 99)
    await daemon.post("/api/cloud/jobs/submit", order(tmp_path / "few"), status=201)  # what is loaded at first use is
    forget_peak(daemon.process)
    before = peak(daemon.process)
    answer = await daemon.post("/api/cloud/jobs/submit", order(tmp_path / "many"), status=201)
    growth = peak(daemon.process) - before
    assert answer["data_uploaded"] is True
    assert max(len(upload.data) for upload in sandbox.uploads.values()) > 98 * MIB
    assert growth < MOST_GROWTH, f"{growth / MIB:.1f} MiB"
    print(f"grew by {growth / MIB:.1f} MiB")
