"""``tunerd demo``: the whole loop on this machine, over real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from . import output
from .children import Child
from .client import Client, job_path
from .demo_data import write_dataset
from .exits import OK, CliError, Failed

START_SECONDS = 20.0  # a cold disk and two processes; otherwise about one second each
RUN_SECONDS = 60.0  # the simulated training takes about ten
STEPS = 100
CONFIG = {"model_family": "flux", "model_type": "lora", "lora_rank": 16, "max_train_steps": STEPS}


def demo(*, keep: Annotated[bool, Parameter(help="Stay up for the web page until Ctrl-C.")] = False) -> int:
    """Show the whole loop: sandbox, daemon, one training, its file.

    A simulated Replicate and a daemon on SQLite are started on free ports, a small
    image dataset is made and submitted as a training, its signed webhook events
    are followed, and the delivered files are checked against their SHA-256.
    Nothing leaves this machine, and none of your settings or tokens are used.
    """
    folder = Path(tempfile.mkdtemp(prefix="tunerd-demo-"))
    with _stopped_by_signals(), contextlib.ExitStack() as stack:
        started: list[Child] = []
        try:
            url = _start(stack, started, folder)
            _run(Client(url), folder)
        except CliError as problem:
            logs = "\n".join(child.last_words() for child in started)
            raise Failed(f"the demo failed: {problem.message}\n{logs}\nEverything is kept in {folder}.") from None
        if keep:
            with contextlib.suppress(KeyboardInterrupt):  # how a kept demo is meant to end: not a failure
                print(f"\nThe daemon stays up at {url}/ until Ctrl-C.", flush=True)
                while True:
                    time.sleep(3600)
    print(f"\nEverything is kept in {folder}" + ("" if keep else "; with --keep the web page stays up."))
    return OK


def _start(stack: contextlib.ExitStack, started: list[Child], folder: Path) -> str:
    """The sandbox, then the daemon pointed at it; the daemon's address."""
    sandbox = Child("sandbox", ["sandbox", "--listen", "127.0.0.1:0"], folder, {})
    _begin(sandbox, stack, started)
    provider = {
        name: sandbox.line(f"export {name}=", START_SECONDS) for name in ("REPLICATE_BASE_URL", "REPLICATE_API_TOKEN")
    }
    print(f"simulated Replicate  {provider['REPLICATE_BASE_URL']}")
    folders = ["--data-dir", str(folder / "data"), "--output-dir", str(folder / "outputs")]
    daemon = Child("daemon", ["serve", "--listen", "127.0.0.1:0", *folders], folder, provider)
    _begin(daemon, stack, started)
    url = daemon.line("tunerd ready on ", START_SECONDS)
    print(f"daemon, web page     {url}/")
    return url


def _begin(child: Child, stack: contextlib.ExitStack, started: list[Child]) -> None:
    stack.callback(child.stop)  # before it runs: an interrupt may come at any moment
    started.append(child)
    child.start()


def _run(client: Client, folder: Path) -> None:
    """One training from submit to its files; ``Failed`` says what went wrong."""
    from .watch import follow

    begin = time.monotonic()
    # The daemon's own address, as a tunnel's or proxy's would be: known only now that its port is.
    client.call("PUT", "/api/cloud/providers/replicate", body={"webhook_url": client.url})
    dataset = folder / "dataset"
    print(f"dataset              {dataset} ({write_dataset(dataset)} files)")
    body = {
        "config": CONFIG,
        "config_name": "demo",
        "dataloader_config": [
            {"id": "discs", "type": "local", "instance_data_dir": str(dataset), "caption_strategy": "textfile"}
        ],
    }
    job_id = client.call("POST", "/api/cloud/jobs/submit", body=body).json()["job_id"]
    print(f"job                  {job_id}", flush=True)
    job = follow(client, job_id, timeout=RUN_SECONDS)
    if job["status"] != "completed":
        raise Failed(f"the job ended as {job['status']}: {job.get('error')}")
    for delivery in job["deliveries"]:
        if delivery["status"] != "delivered":
            raise Failed(f"the delivery to {delivery['destination']} is {delivery['status']}: {delivery.get('error')}")
    count = _check_files(client, job_id, folder / "outputs" / job_id)
    events = client.get(job_path(job_id, "events"), {"limit": 1000})["events"]
    signed = sum(event["verified"] and event["source"] == "webhook" for event in events)
    print(
        f"\n{count} delivered and checked; {signed} signed events kept; {time.monotonic() - begin:.1f} s from submit."
    )


def _check_files(client: Client, job_id: str, delivered: Path) -> str:
    """Hash what lies on disk and compare it with what the daemon says; how many files."""
    artifacts: list[dict[str, Any]] = client.get(job_path(job_id, "artifacts"))["artifacts"]
    if not artifacts:
        raise Failed("the job has no files")
    print("\ndelivered files:")
    for artifact in artifacts:
        file = delivered / artifact["name"]
        try:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as problem:
            raise Failed(f"{file}: {problem.strerror}") from None
        if digest != artifact["sha256"]:
            raise Failed(f"{file}: its SHA-256 is {digest}, the daemon says {artifact['sha256']}")
        print(output.clean(f"  {file}  {output.size(artifact['bytes'])}\n  sha256 {digest}", keep="\n"))
    return f"{len(artifacts)} file{'s' if len(artifacts) > 1 else ''}"


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does, so that the children are stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
