"""Runs simulated predictions: queue, setup, a log that grows, output, an end; and whatever the behaviour asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import msgspec

from .behaviour import ERRORS, Behaviour
from .outputs import Outputs
from .records import Record
from .tasks import spawn
from .training_text import bar, closing_lines, opening_lines, traceback_lines
from .webhooks import Sender

# So often the log grows at speed 1: finer than the sender's throttle, so that something is dropped.
_TICK_SECONDS = 0.1
_MIN_TICK_SECONDS = 0.005  # real; more would be all scheduling at high speed
_FILE = re.compile(r"file:(?P<name>.+?)(?::(?P<bytes>\d+))?$", re.DOTALL)


class Runner:
    def __init__(
        self,
        *,
        outputs: Outputs,
        sender: Sender,
        speed: float,
        clock: Callable[[], float],
        check_input: Callable[[Record], tuple[str, str | None]],
        publish: Callable[[Record], str],
    ) -> None:
        """``check_input`` gives a log line on a prediction's files, and why they cannot be used; ``publish`` makes the
        version that a training ends with."""
        self._outputs, self._sender, self._speed, self._clock = outputs, sender, speed, clock
        self._check_input, self._publish = check_input, publish
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def start(self, record: Record) -> None:
        tasks = [spawn(self._run(record), f"run of {record.id}")]
        if record.deadline is not None:
            tasks.append(spawn(self._stop_at_deadline(record, record.deadline), f"deadline of {record.id}"))
        self._tasks[record.id] = tasks

    def cancel(self, record: Record) -> None:
        """By the user: a finished one stays as it is."""
        if record.finished:
            return
        if record.started_at is None:
            record.started_at = self._clock()  # invented, as in the recording of a training canceled in the queue
        self._finish(record, "canceled")

    async def close(self) -> None:
        tasks = [task for each in self._tasks.values() for task in each]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

    async def _stop_at_deadline(self, record: Record, deadline: float) -> None:
        await asyncio.sleep(max(0.0, deadline - self._clock()))
        if not record.finished:
            self._finish(record, "canceled" if record.started_at is not None else "aborted")

    async def _run(self, record: Record) -> None:
        plan = record.behaviour
        if plan.stuck:
            await asyncio.Event().wait()
        await self._sleep(plan.queue_seconds)
        if plan.abort:
            self._finish(record, "aborted")
            return
        self._sender.offer(record, "start")
        await self._sleep(plan.setup_seconds)
        record.status, record.started_at = "processing", self._clock()
        line, problem = self._check_input(record)
        self._grow(record, opening_lines(record.id, plan.steps, plan.log_bytes, line))
        if problem is not None:
            self._finish(record, "failed", error=problem)
            return
        failing = plan.fail is not None and plan.fail != "packaging"
        await self._train(record, plan, plan.fail_at if failing else 1.0)
        if plan.fail is not None:
            error = ERRORS.get(plan.fail, plan.fail)
            record.logs += "" if plan.fail == "packaging" else traceback_lines(error)
            self._finish(record, "failed", error=error)
            return
        await self._produce(record, plan)
        self._finish(record, "succeeded")

    async def _train(self, record: Record, plan: Behaviour, share: float) -> None:
        """Let the log grow over the run's time, ``share`` of the way; about once a tick, however many steps."""
        last = round(plan.steps * share)
        seconds = plan.run_seconds * share / self._speed
        ticks = max(1, min(last, int(seconds / max(_TICK_SECONDS / self._speed, _MIN_TICK_SECONDS))))
        begin, done = asyncio.get_running_loop().time(), 0
        for tick in range(1, ticks + 1):
            await asyncio.sleep(begin + seconds * tick / ticks - asyncio.get_running_loop().time())
            step = last * tick // ticks
            lines = (bar(number, plan.steps, plan.run_seconds, plan.seed) for number in range(done + 1, step + 1))
            self._grow(record, "".join(lines))
            done = step

    def _grow(self, record: Record, text: str) -> None:
        if text:
            record.logs += text
            self._sender.offer(record, "logs")

    async def _produce(self, record: Record, plan: Behaviour) -> None:
        output = self._output(record, plan)
        record.logs += closing_lines(plan.steps)
        if plan.shape == "list" and plan.output is msgspec.UNSET and isinstance(output, list):
            for count in range(1, len(output)):  # an iterator model: what it has yielded so far
                await self._sleep(plan.run_seconds / len(output) / 2)
                record.output = output[:count]
                self._sender.offer(record, "output")
            await self._sleep(plan.run_seconds / len(output) / 2)
        record.output = output
        if plan.stream or plan.shape == "list":
            self._sender.offer(record, "output")

    def _output(self, record: Record, plan: Behaviour) -> Any:
        if plan.output is not msgspec.UNSET:
            return self._fill_in(record, plan.output)
        names = file_names(plan.file_name, plan.files)
        if plan.shape in {"text", "number", "null", "data"}:
            greeting = f"hello {record.input.get('text', record.input.get('prompt', 'world'))}"
            return {"text": greeting, "number": 42, "null": None, "data": "data:text/plain;base64,aGVsbG8="}[plan.shape]
        if plan.shape == "version":
            return {"version": self._publish(record)}
        urls = [self._outputs.add(record, name, plan.file_bytes) for name in names]
        match plan.shape:
            case "list":
                return urls
            case "dict":
                return dict(zip((name.partition(".")[0] for name in names), urls, strict=True))
            case "dicts":
                return [{"file": url} for url in urls]
            case "nested":
                return {
                    "model": {"weights": urls[:1], "note": "see https://example.com/x for more"},
                    "more": [urls[1:], None, 3],
                }
            case "training":
                return {"version": self._publish(record), "weights": urls[0]}
            case _:
                return urls[0]

    def _fill_in(self, record: Record, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._fill_in(record, each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._fill_in(record, each) for each in value]
        found = _FILE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return value
        return self._outputs.add(record, found["name"], int(found["bytes"] or record.behaviour.file_bytes))

    def _finish(self, record: Record, status: str, *, error: str | None = None) -> None:
        record.status, record.error, record.completed_at = status, error, self._clock()
        if status != "succeeded":
            record.output = None
        self._sender.offer(record, "completed")
        record.done.set()
        current = asyncio.current_task()
        for task in self._tasks.pop(record.id, []):
            if task is not current:
                task.cancel()


def file_names(name: str, count: int) -> list[str]:
    """``name`` itself, or ``name-0``, ``name-1`` … before its suffix."""
    if count == 1:
        return [name]
    stem, dot, suffix = name.rpartition(".")
    return [f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}" for number in range(count)]
