"""What one simulated run does, read from its input, the faults and its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Shape = Literal["url", "list", "dict", "dicts", "nested", "text", "number", "null", "data", "training", "version"]

# Texts that ``fail`` may name: platform and user reports quote them.
ERRORS = {
    "oom": "CUDA out of memory. Tried to allocate 2.00 GiB",
    "killed": "Prediction failed: E1001: out of memory (killed)",
    "timeout": "E6716: Timeout starting prediction",
    "packaging": "Failed to create trained image after successful training run.",
    "validation": (
        'Prediction input failed validation: {"detail":[{"loc":["body","input","images"],"msg":"field required"}]}'
    ),
}


class Behaviour(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Seconds are those of a sandbox at speed 1."""

    steps: int = 100
    queue_seconds: float = 0.5  # "starting", before the start event
    setup_seconds: float = 0.5  # "starting", after it
    run_seconds: float = 8.0  # "processing", however many steps
    stuck: bool = False  # never leaves the queue
    abort: bool = False  # ends in the queue as "aborted"
    fail: str | None = None  # the error text, or a key of ERRORS
    fail_at: float = 0.5  # the share of the steps done before it fails
    shape: Shape = "url"
    output: Any = msgspec.UNSET  # given: this is the output; "file:NAME[:BYTES]" in it becomes the URL of such a file
    stream: bool = False  # show the output before the end (an ``output`` event); lists of URLs and tokens do so anyway
    files: int = 1
    file_bytes: int = 200_000
    file_name: str = "pytorch_lora_weights.safetensors"
    seed: int = 0  # of the files' content and of the log
    log_bytes: int = 0  # of filler that the log starts with


# Keys of an input that mean the same to every simulated trainer.
_COMMON = ("steps", "seed")


def read_behaviour(model: Mapping[str, Any], faults: Mapping[str, Any], given: Mapping[str, Any]) -> Behaviour:
    """The model's own behaviour, under the faults', under the input's. ``ValueError`` where a value is unfit.

    The input may name any key of ``Behaviour`` itself (acme models) or in an object ``sandbox`` (every model).
    """
    fields = Behaviour.__struct_fields__
    values: dict[str, Any] = dict(model)
    if isinstance(given.get("max_train_steps"), int):
        values["steps"] = given["max_train_steps"]
    values |= faults
    values |= {key: given[key] for key in (fields if model.get("open_input") else _COMMON) if key in given}
    own = given.get("sandbox")
    values |= own if isinstance(own, dict) else {}
    values.pop("open_input", None)
    return msgspec.convert(values, Behaviour)
