"""Predictions and trainings: create, get, list, cancel."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from ..core.prediction import parse_time
from . import answers, ids
from .behaviour import read_behaviour
from .catalog import Model, Version
from .paging import page
from .platform import Platform
from .records import Kind, Record, stamp
from .requests import PREDICTION_KEYS, Wanted, read_cancel_after, read_common, read_prefer
from .schemas import invalid_fields


class PredictionsApi:
    def __init__(self, platform: Platform) -> None:
        self._p = platform

    def routes(self) -> list[web.RouteDef]:
        both = []
        for kind in ("predictions", "trainings"):
            both += [
                web.get(f"/v1/{kind}", self.listing),
                web.get(f"/v1/{kind}/{{id}}", self.get),
                web.post(f"/v1/{kind}/{{id}}/cancel", self.cancel),
            ]
        return [
            *both,
            web.post("/v1/predictions", self.create),
            web.post("/v1/models/{owner}/{name}/predictions", self.create_official),
            web.post("/v1/models/{owner}/{name}/versions/{version}/trainings", self.create_training),
        ]

    async def create(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        wanted = read_common(body, self._p.faults, known=PREDICTION_KEYS)
        reference = body.get("version")
        if not isinstance(reference, str):
            raise answers.invalid_request("required", "(root)", "version is required")
        found = self._p.catalog.resolve(reference)
        if found is None:
            raise answers.invalid_version()
        return await self._create_prediction(request, wanted, *found)

    async def create_official(self, request: web.Request) -> web.Response:
        wanted = read_common(await json_body(request), self._p.faults, known=PREDICTION_KEYS - {"version"})
        model = self._p.catalog.models.get("{owner}/{name}".format(**request.match_info))
        if model is None or not model.official:
            raise answers.not_found()
        return await self._create_prediction(request, wanted, model, model.versions[0])

    async def create_training(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        wanted = read_common(body, self._p.faults)
        found = self._p.catalog.resolve("{owner}/{name}:{version}".format(**request.match_info))
        if found is None:
            raise answers.not_found()
        if body.get("destination") not in self._p.catalog.models:
            raise answers.no_destination()
        record = self._start("training", wanted, *found, destination=body["destination"])
        return self._created(record, 201)

    async def _create_prediction(
        self, request: web.Request, wanted: Wanted, model: Model, version: Version
    ) -> web.Response:
        seconds = read_prefer(request.headers.get("Prefer"))
        deadline = read_cancel_after(request.headers.get("Cancel-After"))
        record = self._start("prediction", wanted, model, version, cancel_after=deadline)
        if seconds is None:
            return self._created(record, 201)
        try:
            await asyncio.wait_for(record.done.wait(), seconds / self._p.speed)
        except TimeoutError:
            return self._created(record, 202, Preference_Applied=f"wait={seconds}")
        return self._created(record, 201, Preference_Applied=f"wait={seconds}")

    def _start(
        self, kind: Kind, wanted: Wanted, model: Model, version: Version, *, destination: str | None = None,
        cancel_after: int | None = None,
    ) -> Record:  # fmt: skip
        problems = invalid_fields(wanted.input, version.schema)
        if problems:
            raise answers.invalid_input(problems)
        own = model.behaviour | ({"shape": "training"} if kind == "training" else {})
        try:
            behaviour = read_behaviour(own, self._p.faults.behaviour, wanted.input)
        except msgspec.ValidationError as problem:
            raise answers.invalid_request("invalid_type", "input.sandbox", str(problem)) from None
        created_at = self._p.created_now()
        record = Record(
            id=ids.prediction_id(self._p.rng),
            kind=kind,
            model=model.full_name,
            version=version.id,
            input=wanted.input,
            behaviour=behaviour,
            created_at=created_at,
            webhook=wanted.webhook,
            events=wanted.events,
            filter_given=wanted.filter_given,
            destination=destination,
            deadline=None if cancel_after is None else created_at + cancel_after / self._p.speed,
        )
        self._p.predictions[record.id] = record
        self._p.runner.start(record)
        return record

    def _created(self, record: Record, status: int, **headers: str) -> web.Response:
        shown = self._p.show.render(record, "created", self._p.clock())
        return self._p.answer(shown, created=True, status=status, **headers)

    async def get(self, request: web.Request) -> web.Response:
        """Both addresses answer for both kinds: a training is a prediction."""
        record = self._find(request)
        age = (self._p.clock() - record.created_at) * self._p.speed
        lost = self._p.faults.queue_404_after
        if age < self._p.faults.read_lag or (record.status == "starting" and lost is not None and age >= lost):
            raise answers.not_found()
        return self._p.answer(self._p.show.render(record, "read", self._p.clock()))

    async def cancel(self, request: web.Request) -> web.Response:
        record = self._find(request)
        self._p.runner.cancel(record)
        return self._p.answer(self._p.show.render(record, "canceled", self._p.clock()))

    def _find(self, request: web.Request) -> Record:
        record = self._p.predictions.get(request.match_info["id"])
        if record is None:
            raise answers.not_found()
        return record

    async def listing(self, request: web.Request) -> web.Response:
        kind: Kind = "training" if request.path.startswith("/v1/trainings") else "prediction"
        chosen = [record for record in reversed(self._p.predictions.values()) if record.kind == kind]
        kept = {
            key: request.query[key] for key in ("created_after", "created_before", "source") if key in request.query
        }
        after, before = _moment(kept, "created_after"), _moment(kept, "created_before")
        chosen = [
            record
            for record in chosen
            if (after is None or record.created_at > after)
            and (before is None or record.created_at < before)
            and kept.get("source") in {None, record.source}
        ]
        url = str(request.url.origin().join(request.rel_url).with_query(kept))
        result = page(
            chosen,
            lambda record: stamp(record.created_at, 6),
            size=self._p.faults.page_size,
            cursor=request.query.get("cursor"),
            url=url.replace(str(request.url.origin()), self._p.url, 1),
        )
        now = self._p.clock()
        result["results"] = [self._p.show.render(record, "listed", now) for record in result["results"]]
        return self._p.answer(result)


def _moment(query: dict[str, str], name: str) -> float | None:
    if name not in query:
        return None
    moment = parse_time(query[name].replace(" ", "+"))  # a "+" that was not escaped arrives as a blank
    if moment is None:
        raise answers.Problem(400, detail=f"{name} must be an ISO 8601 timestamp", status=400)
    return moment


async def json_body(request: web.Request) -> Any:
    try:
        return msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise answers.Problem(400, detail=f"JSON parse error - {problem}", status=400) from None
