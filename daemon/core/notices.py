"""What is told to the outside when something happened, as outgoing webhooks carry it. Facts in, a notice out.

``text`` is one sentence for people: receivers that show chat messages (Slack and what takes Slack's format) read only
that. What comes from outside (errors, names) is made harmless in it: a chat would obey ``<!channel>``, ``@everyone``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from .deliveries import DeliveryStatus
from .jobs import JobStatus
from .times import rfc3339

TEXT_CHARS = 300  # of a foreign text in a sentence; a chat message has room for 2,000
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b", "`": "'"})


class NoticeType(StrEnum):
    JOB_FINISHED = "job.finished"
    DELIVERY_DELIVERED = "delivery.delivered"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_EXPIRING = "delivery.expiring"
    COST_LIMIT_REACHED = "cost_limit.reached"
    RECONCILE_FOUND = "reconcile.found"
    JOB_DOUBLED = "job.doubled"


# The error of a delivery that was cancelled: it has failed, and nobody is to be alarmed.
CANCELLED_BY_YOU = "cancelled by you"
TEST = "test"  # sent when somebody asks for it, whatever an endpoint subscribes to


class Notice(msgspec.Struct, frozen=True):
    """One thing that happened: ``data`` is for programs, ``text`` for people."""

    type: str
    text: str
    data: Mapping[str, Any]

    def payload(self, now: float) -> str:
        """The webhook's body: ``{"type", "timestamp", "text", "data"}``."""
        body = {"type": self.type, "timestamp": rfc3339(now), "text": self.text, "data": self.data}
        return msgspec.json.encode(body).decode()


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a job. Times are unix seconds, money is US dollars."""

    job_id: str
    provider_job_id: str | None
    status: JobStatus
    model: str | None
    config_name: str | None
    error: str | None
    cost_usd: float | None
    started_at: float | None
    completed_at: float | None

    @property
    def name(self) -> str:
        called = self.config_name or self.model
        return f"{self.job_id} ({plain(called)})" if called else self.job_id

    def data(self) -> dict[str, Any]:
        seconds = None if self.started_at is None or self.completed_at is None else self.completed_at - self.started_at
        return {
            "job_id": self.job_id,
            "provider_job_id": self.provider_job_id,
            "status": self.status.value,
            "model": self.model,
            "config_name": self.config_name,
            "error": self.error,
            "cost_usd": self.cost_usd,
            "duration_seconds": None if seconds is None else round(max(0.0, seconds), 3),
            "completed_at": rfc3339(self.completed_at),
        }


class DeliveryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one delivery."""

    job: JobFacts
    destination: str
    type: str
    status: str
    url: str | None
    error: str | None
    bytes_done: int
    bytes_total: int | None
    deadline: float | None
    fetched: bool  # all files are held here; what is missing is the way to the destination

    def data(self) -> dict[str, Any]:
        return {
            "job_id": self.job.job_id,
            "provider_job_id": self.job.provider_job_id,
            "model": self.job.model,
            "config_name": self.job.config_name,
            "destination": self.destination,
            "destination_type": self.type,
            "status": self.status,
            "url": self.url,
            "error": self.error,
            "bytes_done": self.bytes_done,
            "bytes_total": self.bytes_total,
            "deadline": rfc3339(self.deadline),
            "fetched": self.fetched,
        }


def job_finished(job: JobFacts) -> Notice:
    said = {JobStatus.COMPLETED: "has completed", JobStatus.CANCELLED: "was cancelled"}.get(job.status, "has failed")
    cost = "" if job.cost_usd is None else f" It cost ${job.cost_usd:.2f}."
    reason = f": {plain(job.error)}" if job.error and job.status is JobStatus.FAILED else ""
    return Notice(NoticeType.JOB_FINISHED, f"Job {job.name} {said}{reason}.{cost}", job.data())


def reconcile_found(job: JobFacts) -> Notice:
    text = (
        f"Job {job.name} is {job.status.value}: the API told so before any webhook did. If that happens often, "
        "check that Replicate reaches the webhook URL."
    )
    return Notice(NoticeType.RECONCILE_FOUND, text, job.data())


def job_doubled(job: JobFacts, other: str, *, cancelled: bool, sure: bool) -> Notice:
    """``other`` is the provider's id of a second job."""
    if not sure:
        text = (
            f"Job {job.name} was given up, and Replicate runs {plain(other)}, which looks like it. "
            "It was not cancelled: if nobody else started it, cancel it there."
        )
    else:
        done = "It was cancelled" if cancelled else "It was not cancelled: look at it there"
        text = f"Replicate made a second job, {plain(other)}, for {job.name}: an answer was lost. {done}."
    data = {**job.data(), "other_provider_job_id": other, "cancelled": cancelled, "certain": sure}
    return Notice(NoticeType.JOB_DOUBLED, text, data)


def delivery_ended(delivery: DeliveryFacts) -> Notice:
    """``delivery.delivered`` or ``delivery.failed``."""
    where = f"{plain(delivery.destination)} ({delivery.type})"
    if delivery.status == DeliveryStatus.DELIVERED:
        text = f"The result of job {delivery.job.name} is at {where}: {plain(delivery.url)}"
        return Notice(NoticeType.DELIVERY_DELIVERED, text, delivery.data())
    if delivery.error == CANCELLED_BY_YOU:
        text = f"The delivery of job {delivery.job.name} to {where} was cancelled."
        return Notice(NoticeType.DELIVERY_FAILED, text, delivery.data())
    text = (
        f"The result of job {delivery.job.name} could not be delivered to {where}: {plain(delivery.error)}. "
        f"Try again with: tunerd redeliver {delivery.job.job_id} --to {plain(delivery.destination)}"
    )
    return Notice(NoticeType.DELIVERY_FAILED, text, delivery.data())


def delivery_expiring(delivery: DeliveryFacts, now: float) -> Notice:
    minutes = max(0, round(((delivery.deadline or now) - now) / 60))
    where = f"{plain(delivery.destination)} ({delivery.type})"
    risk = (
        "its files are held here, but what they came from is gone then"
        if delivery.fetched
        else "what has not been fetched by then is gone"
    )
    reason = f" Now: {plain(delivery.error)}." if delivery.error else ""
    text = (
        f"The result of job {delivery.job.name} has not reached {where}, and its output expires in {minutes} min: "
        f"{risk}.{reason}"
    )
    return Notice(NoticeType.DELIVERY_EXPIRING, text, delivery.data())


def cost_limit_reached(*, period: str, amount: float, spent: float, reserved: float, action: str) -> Notice:
    """The figures are US dollars."""
    effect = "Further jobs are refused." if action == "block" else "Further jobs are submitted with a warning."
    text = (
        f"The {period} cost limit of ${amount:.2f} is reached: ${spent:.2f} spent, ${reserved:.2f} reserved. {effect}"
    )
    data = {"period": period, "amount_usd": amount, "spent_usd": spent, "reserved_usd": reserved, "action": action}
    return Notice(NoticeType.COST_LIMIT_REACHED, text, data)


def trial(endpoint: str) -> Notice:
    return Notice(TEST, f"This is a test of tunerd's notifications to {plain(endpoint)}.", {"endpoint": endpoint})


def plain(text: str | None) -> str:
    """A foreign text for a sentence: one short line that no chat takes for markup or a mention."""
    line = " ".join((text or "unknown").split()).rstrip(".")
    return (line if len(line) <= TEXT_CHARS else line[: TEXT_CHARS - 1] + "…").translate(_MARKUP)
