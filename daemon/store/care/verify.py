"""Checks everything that is stored against itself: bodies, signatures, order, and what was derived from the events."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ...core.signature import Verdict
from ...core.signature import verify as verify_signature
from ..batch import JOB_COLUMNS
from ..database import AnyRow
from ..schema import artifacts, deliveries, events, jobs
from ..sequence import last_sequence
from .derive import Deriving, differences
from .walk import Entry, walk

MOST_FINDINGS = 1000  # told in full; a file that is damaged all over would fill the memory

_JOB = sa.select(*JOB_COLUMNS).where(jobs.c.job_id == sa.bindparam("job_id"))
_STRAY = (
    ("delivery", sa.select(deliveries.c.job_id).where(deliveries.c.job_id.not_in(sa.select(jobs.c.job_id))).distinct()),
    ("artifact", sa.select(artifacts.c.job_id).where(artifacts.c.job_id.not_in(sa.select(jobs.c.job_id))).distinct()),
)


def _lost(column: sa.Column[int]) -> sa.ColumnElement[bool]:
    """The job names an event that is not there, or is another job's."""
    return sa.and_(column.is_not(None), ~sa.exists().where(events.c.seq == column, events.c.job_id == jobs.c.job_id))


_PLACES = sa.select(jobs.c.job_id, jobs.c.last_seq, jobs.c.logs_seq).where(
    sa.or_(_lost(jobs.c.last_seq), _lost(jobs.c.logs_seq))
)
_COUNTS = (
    sa.select(jobs.c.job_id, jobs.c.events, sa.func.count(events.c.seq).label("there"))
    .select_from(jobs.outerjoin(events, events.c.job_id == jobs.c.job_id))
    .group_by(jobs.c.job_id, jobs.c.events)
    .having(sa.func.count(events.c.seq) != jobs.c.events)
)
_LAST = sa.select(sa.func.max(events.c.seq))


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong. ``check``: body, signature, kind, job, sequence, delivery or artifact."""

    check: str
    detail: str
    seq: int | None = None
    job_id: str | None = None


class Report(msgspec.Struct):
    """What was looked at, and what is wrong. ``unknown``: signed, but no secret is known to check it with."""

    events: int = 0
    bodies: int = 0
    pruned: int = 0
    valid: int = 0
    invalid: int = 0
    unsigned: int = 0
    unknown: int = 0
    jobs: int = 0
    jobs_pruned: int = 0  # some of their bodies were pruned: what they derive cannot be checked any more
    found: int = 0
    findings: list[Finding] = []

    @property
    def damaged(self) -> int:
        """Bodies that cannot be given back."""
        return self.events - self.bodies - self.pruned

    def add(self, finding: Finding) -> None:
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)


def verify(connection: sa.Connection, secrets: Sequence[bytes], *, derive: bool = True) -> Report:
    """Look at everything. ``secrets`` are the HMAC keys known; within one transaction that sees one state.

    Without ``derive`` the jobs' rows are not compared with what their events tell: that reads every body as JSON.
    """
    report = Report()
    deriving: Deriving | None = None
    for entry in walk(connection):
        _look(report, entry, secrets)
        if derive and entry.job_id is not None:
            if deriving is None or deriving.job_id != entry.job_id:
                _judge(report, deriving)
                deriving = Deriving(entry.job_id, job_draft_row(connection, entry.job_id))
            deriving.take(entry)
    _judge(report, deriving)
    _cross_check(connection, report)
    return report


def job_draft_row(connection: sa.Connection, job_id: str) -> AnyRow | None:
    return connection.execute(_JOB, {"job_id": job_id}).first()


def _look(report: Report, entry: Entry, secrets: Sequence[bytes]) -> None:
    report.events += 1
    if entry.pruned:
        report.pruned += 1
        return
    if entry.body is None:
        report.add(Finding("body", f"The body cannot be given back: {entry.problem}.", entry.seq, entry.job_id))
        return
    report.bodies += 1
    if not entry.timestamp or not entry.signature or entry.source != "webhook" or not entry.verified:
        report.unsigned += 1
    elif not secrets:
        report.unknown += 1
    elif signature_holds(secrets, entry):
        report.valid += 1
    else:
        report.invalid += 1
        detail = "The signature matches with none of the known secrets."
        report.add(Finding("signature", detail, entry.seq, entry.job_id))


def signature_holds(secrets: Sequence[bytes], entry: Entry) -> bool:
    """Whether the event is signed with one of ``secrets``, whenever that was."""
    verdict = verify_signature(
        secrets, entry.webhook_id, entry.timestamp, entry.signature, entry.body or b"", now=0.0, tolerance=float("inf")
    )
    return verdict is Verdict.OK


def _judge(report: Report, deriving: Deriving | None) -> None:
    if deriving is None:
        return
    report.jobs += 1
    for seq in deriving.other_kinds:
        report.add(Finding("kind", "The event is stored under another kind than it shows.", seq, deriving.job_id))
    if deriving.known is None:
        report.add(Finding("job", "There are events of this job, but it has no row.", job_id=deriving.job_id))
        return
    told = deriving.finish()
    if told is None:
        report.jobs_pruned += 1
    elif other := differences(deriving.known, told):
        detail = f"The row is not as the job's events tell: {', '.join(other)}."
        report.add(Finding("job", detail, job_id=deriving.job_id))


def _cross_check(connection: sa.Connection, report: Report) -> None:
    newest, last = connection.execute(_LAST).scalar() or 0, last_sequence(connection)
    if newest > last:
        detail = f"Event {newest} is newer than the last number given out, {last}: it would be given out again."
        report.add(Finding("sequence", detail, newest))
    for row in connection.execute(_COUNTS):
        detail = f"The row counts {row.events} events; there are {row.there}."
        report.add(Finding("job", detail, job_id=row.job_id))
    for row in connection.execute(_PLACES):
        detail = f"Its newest event ({row.last_seq}) or the one with its log ({row.logs_seq}) is not there."
        report.add(Finding("job", detail, job_id=row.job_id))
    for what, statement in _STRAY:
        for row in connection.execute(statement):
            report.add(Finding(what, f"A row of {what} has no job.", job_id=row.job_id))
