"""Every knob that makes the sandbox misbehave. ``sandbox.faults.<knob> = …``, or ``POST /_sandbox/faults`` with a part.

Defaults are how Replicate behaves on a good day. Seconds are divided by the sandbox's ``speed`` unless marked *real*.
A counter (``…_next``) hits that many requests and then stops; ``-1`` hits every one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Style = Literal["go", "django", "python"]
Event = Literal["start", "logs", "output", "completed"]
OutputFault = Literal["none", "truncate", "reset", "short_length", "wrong_md5", "hang", "error", "forbidden"]


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Mutable; read at the moment it matters, so a change takes effect at once."""

    # -- what predictions do (keys of behaviour.Behaviour); an input's own ``sandbox`` object wins
    behaviour: dict[str, Any] = {}
    unknown_status: str | None = None  # shown instead of "processing"
    extra_keys: dict[str, Any] = {}  # added to every prediction object
    timestamp_digits: int | None = None  # fractional digits of every time; None = as each backend writes them

    # -- the API
    api_match: str = ""  # regular expression searched in "METHOD /path"; the API faults below hit only these
    create_style: Style = "go"  # encoding of 201/202 answers
    read_style: Style = "django"  # encoding of all other answers
    echo_webhook: bool = True  # show webhook and webhook_events_filter in answers and events
    page_size: int = 100
    latency: float = 0.0  # real seconds before each API answer
    rate_limit_next: int = 0  # 429
    rate_limit_style: Literal["body", "header", "date", "text", "none"] = "body"  # how the 429 says when to come back
    rate_limit_seconds: int = 1  # real; what the 429 says
    insufficient_credit_next: int = 0  # 402 on creates
    server_error_next: int = 0
    server_error_status: int = 502
    server_error_body: Literal["html", "json", "empty"] = "html"
    hang_next: int = 0  # no answer for hang_seconds, then the connection is closed
    hang_seconds: float = 60.0  # real
    reset_next: int = 0  # connection reset before the request is looked at
    lose_create_answer_next: int = 0  # the prediction is created, its answer is cut off
    secret_error_next: int = 0  # 500 on GET /webhooks/default/secret
    read_lag: float = 0.0  # a new prediction answers GET with 404 for so long
    queue_404_after: float | None = 1800.0  # GET gives 404 once it has been queued for so long, though it may still run
    file_limit_bytes: int = 100 * 1024 * 1024  # "Files must be less than 100MB in size"; SimpleTuner counts MiB
    file_ttl: float = 86_400.0  # real seconds that an uploaded file lives
    refuse_http_webhooks: bool = False  # whether the API does is not known

    # -- webhooks
    webhook_style: Style = "go"
    webhook_key_order: Literal["style", "reversed", "shuffled"] = "style"
    webhook_trailing_newline: bool = False
    webhook_drop: list[Event] = []
    webhook_duplicates: int = 0  # further copies of each message, same webhook-id
    webhook_reorder: bool = False  # pairs are swapped, and the end overtakes the last logs
    webhook_delay: float = 0.0
    webhook_jitter: float = 0.0  # up to so much more for each message, at random: they overtake each other
    webhook_throttle: float = 0.5  # logs and output at most once in so long; what comes in between is dropped
    webhook_sign_with: Literal["current", "both", "old", "wrong"] = "current"  # "old" is the one before a rotation
    webhook_extra_signatures: bool = False  # entries that do not match, an unknown version and a malformed one too
    webhook_clock_skew: float = 0.0  # real seconds added to webhook-timestamp
    webhook_gzip: Literal["off", "sign_wire", "sign_plain"] = "off"
    webhook_timeout: float = 10.0  # real seconds; the sender's own limit is not published

    # -- output files
    output_ttl: float = 3600.0  # real seconds after completion; then files, input, output and logs are gone
    output_fault: OutputFault = "none"
    output_fault_next: int = -1  # how many downloads output_fault hits
    output_ignore_range: bool = False  # 200 with everything, although a range was asked for
    output_changes: bool = False  # a new ETag on every request
    output_md5: bool = True  # x-goog-hash: composite objects have no md5
    output_redirect: str | None = None  # every output URL answers 302 to this one
    output_bytes_per_second: int = 0  # real; 0 = as fast as it goes
    output_base_url: str | None = None  # written into outputs instead of the sandbox's own address

    def update(self, changes: Mapping[str, Any]) -> None:
        """Set the knobs in ``changes``, all or none; ``msgspec.ValidationError`` names what is wrong."""
        for name in changes:
            if name not in self.__struct_fields__:
                raise msgspec.ValidationError(
                    f"there is no fault {name!r}; there are {', '.join(self.__struct_fields__)}"
                )
        checked = msgspec.convert(msgspec.to_builtins(self) | dict(changes), Faults)
        for name in changes:
            setattr(self, name, getattr(checked, name))

    def reset(self) -> None:
        """Back to a good day."""
        for name, value in msgspec.structs.asdict(Faults()).items():
            setattr(self, name, value)

    def take(self, counter: str) -> bool:
        """Whether the fault counted by ``counter`` hits now; counts it."""
        left: int = getattr(self, counter)
        if left > 0:
            setattr(self, counter, left - 1)
        return left != 0
