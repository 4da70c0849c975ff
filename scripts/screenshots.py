"""Makes docs/screenshot.png: a simulated training, watched in Debian's Chromium. ``python -m scripts.screenshots``"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright, expect

from daemon.cli.demo_data import write_dataset
from daemon.sandbox.faults import Faults
from daemon.sandbox.server import Sandbox
from tests.e2e.conftest import wired_daemon
from tests.support.browser import OPTIONS
from tests.support.daemon import Daemon

TARGET = Path(__file__).parents[1] / "docs/screenshot.png"
SIZE = {"width": 1280, "height": 1010}
MOST_BYTES = 200_000  # it is fetched with every look at the README
CONFIG = {
    "--model_type": "lora",
    "--model_family": "flux",
    "--pretrained_model_name_or_path": "black-forest-labs/FLUX.1-dev",
    "--max_train_steps": 1200,
    "--learning_rate": "1e-4",
}
SHARE = 60  # percent done when the picture is taken
RUN_SECONDS = 30  # slow enough for a browser to start meanwhile
PATIENCE_SECONDS = 90


async def submit(daemon: Daemon, dataset: Path) -> str:
    """A training that looks like somebody's own."""
    backend = {"id": "portraits", "type": "local", "instance_data_dir": str(dataset), "caption_strategy": "textfile"}
    body = {"config": CONFIG, "config_name": "portrait-lora", "dataloader_config": [backend]}
    return str((await daemon.post("/api/cloud/jobs/submit", body, status=201))["job_id"])


async def picture(url: str, path: str) -> None:
    options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = await browser.new_page(viewport=SIZE, reduced_motion="reduce", locale="en-GB")  # type: ignore[arg-type]
        await page.goto(url + path)
        far_enough = re.compile(rf"^[{SHARE // 10}-9]\d\.\d %$")
        await expect(page.locator(".percent")).to_have_text(far_enough, timeout=PATIENCE_SECONDS * 1000)
        await page.screenshot(path=TARGET)
        await browser.close()


async def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tunerd-screenshot-") as folder:
        home = Path(folder)
        write_dataset(home / "dataset")
        plan = {"steps": CONFIG["--max_train_steps"], "run_seconds": RUN_SECONDS}
        running = Sandbox(host="127.0.0.1", port=0, faults=Faults(behaviour=plan))
        async with running as sandbox, wired_daemon(home, sandbox, TUNERD_RECONCILE_SECONDS="30") as daemon:
            job_id = await submit(daemon, home / "dataset")
            await picture(daemon.url, f"/jobs/{job_id}")
    size = TARGET.stat().st_size
    print(f"{TARGET.relative_to(Path.cwd())}: {size} bytes")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
