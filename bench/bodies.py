"""Bodies as Replicate sends them, in two parts so that a million of them cost the memory of a few.

A body is ``'{"id":"' + 26 characters + rest``: the rest is shared by many predictions, the id makes each one another.
"""

from __future__ import annotations

import json
import random
from typing import Any

ID_CHARACTERS = 26
_HEAD = b'{"id":"'
_VARIANTS = 64  # so that neither the CPU's caches nor a compressor's luck decide


def prediction_id(number: int, run: str) -> str:
    """A unique id of the length that Replicate's have."""
    return f"{run}{number:0{ID_CHARACTERS - len(run)}d}"


def body_head(ident: str) -> bytes:
    return _HEAD + ident.encode()


def start_rests() -> list[bytes]:
    """Rests of ``start`` bodies of about 1.5 KB: a training's input, nothing else yet."""
    return [_rest(random.Random(seed), status="starting", logs="", size=1500) for seed in range(_VARIANTS)]


def logs_rests() -> list[bytes]:
    """Rests of ``logs`` bodies of about 20 KB."""
    return [
        _rest(random.Random(seed), status="processing", logs=log_text(seed, 17_500), size=0)
        for seed in range(_VARIANTS)
    ]


def log_text(seed: int, size: int) -> str:
    """About ``size`` characters of what a trainer prints: bars that rewrite their line, and lines in between."""
    chance = random.Random(seed)
    parts: list[str] = []
    length = step = 0
    steps = max(1, size // 120)  # never passed: a part is longer
    while length < size:
        step += 1
        gone, left = step * 0.41, (steps - step) * 0.41
        cells = "█" * (10 * step // steps)
        loss = 0.05 + 0.4 * (1 - step / steps) + chance.uniform(-0.02, 0.02)
        part = (
            f"\rEpoch 1/4, Steps: {100 * step // steps:3d}%|{cells:<10}| {step}/{steps} [{_clock(gone)}<{_clock(left)},"
            f" {2.44 + chance.uniform(-0.02, 0.02):.2f}it/s, grad_norm={chance.uniform(0.4, 0.6):.3f}, "
            f"lr={1e-4 * (1 - step / steps / 2):.3g}, step_loss={loss:.4f}]"
        )
        if step % 25 == 0:
            part += (
                f"\n2026-01-05 10:{_clock(gone)[-5:]},{chance.randint(0, 999):03d} [INFO] <cache> batch {step} & ok\n"
            )
        parts.append(part)
        length += len(part)
    return "".join(parts)


def _clock(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _rest(chance: random.Random, *, status: str, logs: str, size: int) -> bytes:
    started = status == "processing"
    training: dict[str, Any] = {
        "images": f"https://api.replicate.com/v1/files/{chance.getrandbits(128):x}/download",
        "config": json.dumps({"model_family": "flux", "max_train_steps": 2000, "seed": chance.getrandbits(31)}),
        "caption": "",
    }
    prediction = {
        "model": "simpletuner/advanced-trainer",
        "version": f"{chance.getrandbits(256):064x}",
        "input": training,
        "logs": logs,
        "output": None,
        "error": None,
        "status": status,
        "created_at": "2026-01-05T10:00:00.127Z",
        "started_at": "2026-01-05T10:00:04.383588891Z" if started else None,
        "completed_at": None,
        "metrics": {},
        "webhook": "https://tunerd.example/api/webhooks/replicate",
        "webhook_events_filter": ["start", "output", "logs", "completed"],
        "urls": {
            "get": "https://api.replicate.com/v1/predictions/x",
            "cancel": "https://api.replicate.com/v1/x/cancel",
        },
    }
    missing = size - len(json.dumps(prediction)) - len(_HEAD) - ID_CHARACTERS
    training["caption"] = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz 0123456789", k=max(missing, 0)))
    encoded = json.dumps(prediction, separators=(",", ":"), ensure_ascii=False)
    return ('",' + encoded[1:]).encode()
