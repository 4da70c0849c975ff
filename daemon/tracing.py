"""OpenTelemetry traces, where the environment asks for them. Off, nothing of OpenTelemetry is imported.

Asked for by ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``), or by ``OTEL_TRACES_EXPORTER=otlp``; every
further ``OTEL_*`` variable is read by the SDK itself. Like logging this is one for the process: whatever takes part in
a trace would otherwise have to be handed a tracer for its few spans.

A trace goes on where no call leads: the ``traceparent`` that came with a request is kept with the event and the job,
and the delivery, an hour or a restart later, continues it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import structlog
from multidict import istr

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

Kind = Literal["internal", "server", "client"]

HEADER = istr("traceparent")
FLUSH_SECONDS = 3.0  # at the end: a collector that is down must not hold up the stop
# W3C Trace Context, version 00 and what later versions may add. All zeros are no ids.
_TRACEPARENT = re.compile(
    r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,100})?", re.ASCII
)

log = structlog.get_logger()
_tracer: Tracer | None = None


def is_on() -> bool:
    return _tracer is not None


def checked(header: str | None) -> str | None:
    """A ``traceparent`` header that can be kept; ``None`` for anything else. Total."""
    return header if header is not None and _TRACEPARENT.fullmatch(header) else None


def asked(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter == "otlp"
    return bool(environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def start(environ: Mapping[str, str] | None = None) -> Callable[[], None]:
    """Begin to trace if ``environ`` asks for it. What is given back ends it and sends what waits; it may block."""
    global _tracer  # noqa: PLW0603 - one for the process, as the module's docstring says
    if not asked(os.environ if environ is None else environ):
        return _nothing
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning(
            "no traces: OpenTelemetry is not installed",
            fix="pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, or unset OTEL_*",
        )
        return _nothing
    ours = Resource({"service.name": "tunerd", "service.version": version("tunerd")})
    provider = TracerProvider(resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()))
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("tunerd", version("tunerd"))

    def stop() -> None:
        global _tracer  # noqa: PLW0603
        _tracer = None
        ending = threading.Thread(target=provider.shutdown, daemon=True)  # sends what waits, and takes its time
        ending.start()
        ending.join(FLUSH_SECONDS)
        exporter.shutdown()  # type: ignore[no-untyped-call] # ends the pause before another try
        ending.join(FLUSH_SECONDS)

    return stop


class Span:
    """What a block may say about itself while it runs."""

    def __init__(self, span: OtelSpan | None = None) -> None:
        self._span = span

    def set(self, **attributes: str | float | bool | None) -> None:
        """Note attributes; ``None`` notes nothing."""
        if self._span is not None:
            self._span.set_attributes(_named(attributes))

    @property
    def traceparent(self) -> str | None:
        """What continues this span elsewhere; ``None`` while nothing is traced."""
        if self._span is None:
            return None
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


_NO_SPAN = contextlib.nullcontext(Span())  # has no state: one for all


def span(
    name: str, *, parent: str | None = None, kind: Kind = "internal", **attributes: str | float | bool | None
) -> AbstractContextManager[Span]:
    """A block of the trace: of ``parent`` (a ``traceparent``) where it is given, else of the block around it.

    An exception that leaves it is noted by its type alone: its text may hold what is nobody's business.
    """
    return _NO_SPAN if _tracer is None else _live(_tracer, name, parent, kind, attributes)


def child(
    name: str, *, kind: Kind = "internal", **attributes: str | float | bool | None
) -> AbstractContextManager[Span]:
    """As ``span``, but only within a block of a trace: what a timer does by itself is none."""
    if _tracer is None:
        return _NO_SPAN
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    around = get_current_span().get_span_context().is_valid
    return _live(_tracer, name, None, kind, attributes) if around else _NO_SPAN


@contextlib.contextmanager
def _live(tracer: Tracer, name: str, parent: str | None, kind: Kind, attributes: Mapping[str, Any]) -> Any:
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=SpanKind[kind.upper()],
        attributes=_named(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            with structlog.contextvars.bound_contextvars(trace_id=f"{opened.get_span_context().trace_id:032x}"):
                yield Span(opened)
        except BaseException as problem:
            opened.set_status(Status(StatusCode.ERROR, type(problem).__name__))
            raise


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """``job_id`` is ``tunerd.job_id``: names without a dot are other people's."""
    return {f"tunerd.{name}": value for name, value in attributes.items() if value is not None}


def _nothing() -> None:
    pass
