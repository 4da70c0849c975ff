"""What a simulated training prints: SimpleTuner's banner, tqdm bars that rewrite their line with ``\\r``, a closing."""

from __future__ import annotations

import math
import random

_BAR_CELLS = 10
_PARTS = " ▏▎▍▌▋▊▉"
_FILLER = "2026-01-05 10:00:00,000 [INFO] caching latents <batch> & text embeds: écran ✓\n"


def opening_lines(prediction_id: str, steps: int, filler_bytes: int, dataset_line: str) -> str:
    """Printed before the first step; ``filler_bytes`` more for those who test big bodies."""
    filler = _FILLER * (filler_bytes // len(_FILLER.encode()) + 1) if filler_bytes else ""
    return (
        f"Running predict()...\n[SimpleTuner] job {prediction_id}\n{dataset_line}\n{filler}"
        f"***** Running training *****\n  - Total optimization steps = {steps}\n"
    )


def bar(step: int, steps: int, seconds: float, seed: int) -> str:
    """The progress bar after ``step`` of ``steps``, in a training of ``seconds``; the loss falls, with noise."""
    share = step / steps if steps else 1.0
    cells, part = divmod(round(share * _BAR_CELLS * 8), 8)
    drawn = ("█" * cells + _PARTS[part].strip()).ljust(_BAR_CELLS)
    rate = steps / seconds if seconds else float(steps)
    noise = random.Random(f"{seed}/{step}").uniform(-0.01, 0.01)
    loss = 0.05 + 0.4 * math.exp(-4 * share) + noise
    end = "\n" if step == steps else ""
    passed, left = clock(seconds * share), clock(seconds * (1 - share))
    return (
        f"\rEpoch 1/1, Steps: {share:4.0%}|{drawn}| {step}/{steps} [{passed}<{left},"
        f" {rate:5.2f}it/s, grad_norm={0.5 + noise:.3f}, lr={1e-4 * (1 - share / 2):.3g}, step_loss={loss:.4f}]{end}"
    )


def clock(seconds: float) -> str:
    """As tqdm writes a duration: ``MM:SS``, with hours in front where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def closing_lines(steps: int) -> str:
    return f"\nTraining complete: {steps} steps.\nSaved the model weights.\n" if steps else "Done.\n"


def traceback_lines(error: str) -> str:
    return (
        f'\nTraceback (most recent call last):\n  File "/src/predict.py", line 112, in predict\nRuntimeError: {error}\n'
    )
