"""Text that looks like a training's log, any length, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

_START = (
    "2026-01-05 10:00:41,512 [INFO] Loading SimpleTuner 3.2.0 with accelerate 1.12.0\n"
    "2026-01-05 10:00:44,020 [INFO] Moving the base model to the accelerator\n"
    "2026-01-05 10:00:58,801 [INFO] (id=instance-data) Collecting captions.\n"
)
_EPOCH_STEPS = 500
_SAVE_STEPS = 250


def training_log(lines: int, seed: int) -> str:
    """``lines`` records as a tqdm bar and SimpleTuner write them: bars end with ``\\r``, everything else with ``\\n``.

    A record has about 170 characters, so 60,000 make 10 MB.
    """
    return _START + "".join(_records(lines, random.Random(seed)))


def _records(lines: int, randomness: random.Random) -> Iterator[str]:
    loss, elapsed = 0.31, 0.0
    for step in range(1, lines + 1):
        pace = 1.45 + randomness.uniform(-0.08, 0.08)  # steps a second
        elapsed += 1 / pace
        loss = max(0.02, loss * 0.9999 + randomness.gauss(0, 0.004))
        done = 20 * step // lines
        bar = "█" * done + " " * (20 - done)
        yield (
            f"Epoch {1 + step // _EPOCH_STEPS}/{1 + lines // _EPOCH_STEPS}, Steps: {100 * step // lines:3d}%|{bar}| "
            f"{step}/{lines} [{_clock(elapsed)}<{_clock((lines - step) / pace)}, {pace:5.2f}it/s, "
            f"grad_absmax={randomness.uniform(0.001, 0.09):.4f}, lr={1e-4 * (1 - step / lines):.2e}, "
            f"step_loss={loss:.4f}]\r"
        )
        if step % _SAVE_STEPS == 0:
            yield f"\n2026-01-05 [INFO] Saving checkpoint-{step} (loss {loss:.5f}, seed {randomness.getrandbits(32)})\n"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
