"""Money as the jobs' rows tell it: summed by the database, however many jobs there are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from ..core.estimate import Past
from ..core.jobs import UNFINISHED, JobStatus
from ..core.spend import Ledger, Unfinished, Untold
from ..core.training_kind import work_of
from .database import AnyRow, Database
from .schema import jobs

_MOST = 1e9  # dollars or seconds that one job counts: a sum of anything larger might overflow
HISTORY_ROWS = 200  # newest finished jobs of one model and hardware that an estimate looks through


def _capped(value: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    return sa.case((value > _MOST, _MOST), (value < 0, 0.0), else_=value)


_GOING_ON = sorted(status.value for status in UNFINISHED)
_BILLED = _capped(jobs.c.cost_usd)
# Without a price the time is counted: as the provider billed it, else from start to end.
_SECONDS = sa.case(
    (jobs.c.cost_usd.is_not(None), 0.0),
    (jobs.c.predict_time.is_not(None), _capped(jobs.c.predict_time)),
    (jobs.c.started_at.is_not(None), _capped(jobs.c.completed_at - jobs.c.started_at)),
    else_=0.0,
)
_ENDED_SINCE = sa.or_(
    jobs.c.completed_at >= sa.bindparam("since"),
    sa.and_(jobs.c.completed_at.is_(None), jobs.c.updated_at >= sa.bindparam("since")),
)
# One statement, so that a job that ends meanwhile is counted once: as finished or as unfinished.
_LEDGER = sa.union_all(
    sa.select(
        sa.cast(sa.null(), sa.Text).label("job_id"),
        jobs.c.submitted,
        jobs.c.hardware,
        jobs.c.usd_per_second,
        sa.func.sum(_BILLED).label("billed"),
        sa.func.sum(_SECONDS).label("seconds"),
        sa.cast(sa.null(), sa.Double).label("started_at"),
        sa.cast(sa.null(), sa.Text).label("cost_estimate"),
    )
    .where(jobs.c.status.not_in(_GOING_ON), _ENDED_SINCE)  # "in" the finished: SQLite would walk through all of them
    .group_by(jobs.c.submitted, jobs.c.hardware, jobs.c.usd_per_second),
    sa.select(
        jobs.c.job_id,
        jobs.c.submitted,
        jobs.c.hardware,
        jobs.c.usd_per_second,
        sa.cast(sa.null(), sa.Double),
        sa.cast(sa.null(), sa.Double),
        jobs.c.started_at,
        jobs.c.cost_estimate,
    ).where(jobs.c.status.in_(_GOING_ON)),
)
_PAST = (
    sa.select(jobs.c.cost_usd, jobs.c.request, jobs.c.usd_per_second)
    .where(jobs.c.status == JobStatus.COMPLETED.value, jobs.c.cost_usd > 0)
    .order_by(jobs.c.completed_at.desc())
    .limit(HISTORY_ROWS)
)


class Spending:
    """Reads only. What a limit says is decided within the transaction that writes a job (``jobs.py``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ledger(self, *, since: float) -> Ledger:
        """Jobs that ended at ``since`` (unix seconds) or later, summed, and every unfinished one."""
        return _ledger(await self._database.rows(_LEDGER, {"since": since}))

    async def past(self, *, model: str | None, version: str | None, hardware: str) -> list[Past]:
        """What completed jobs of that model (of that version, where the model is not known) cost, newest first."""
        same = jobs.c.version == version if model is None else jobs.c.model == model
        rows = await self._database.rows(_PAST.where(same, jobs.c.hardware == hardware))
        return [Past(row.cost_usd, work_of(_input(row.request)), row.usd_per_second) for row in rows]


def read_ledger(connection: sa.Connection, since: float) -> Ledger:
    """As ``Spending.ledger``, within a transaction."""
    return _ledger(connection.execute(_LEDGER, {"since": since}))


def _ledger(rows: Iterable[AnyRow]) -> Ledger:
    billed: list[float] = []
    untold: list[Untold] = []
    unfinished: list[Unfinished] = []
    for row in rows:
        if row.job_id is None:
            billed.append(row.billed or 0.0)
            untold.append(Untold(row.hardware, row.seconds or 0.0, row.usd_per_second))
        else:
            unfinished.append(
                Unfinished(
                    job_id=row.job_id,
                    submitted=bool(row.submitted),
                    hardware=row.hardware,
                    started_at=row.started_at,
                    expected_usd=_expected(row.cost_estimate),
                    usd_per_second=row.usd_per_second,
                )
            )
    return Ledger(math.fsum(billed), untold, unfinished)


def _expected(estimate: str | None) -> float | None:
    if estimate is None:
        return None
    value = msgspec.json.decode(estimate).get("expected_usd")
    return float(value) if isinstance(value, (int, float)) else None


def _input(request: str | None) -> dict[str, Any]:
    """The model's input of a submitted job, as it was written down without its secrets."""
    try:
        given = msgspec.json.decode(request or "{}").get("input")
    except (msgspec.MsgspecError, AttributeError):
        return {}
    return given if isinstance(given, dict) else {}
