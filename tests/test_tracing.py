"""Whether to trace, what a ``traceparent`` may be, and that nothing is imported or noticed while it is off."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from daemon import tracing

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
    ],
)
def test_only_where_the_environment_asks(environ: dict[str, str], asked: bool) -> None:
    assert tracing.asked(environ) is asked


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (PARENT, True),
        (PARENT.replace("-01", "-00"), True),
        (f"01{PARENT[2:]}-more", True),
        (None, False),
        ("", False),
        (PARENT.upper(), False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", False),
        (PARENT + "\n", False),
        (PARENT + "-" + "x" * 200, False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\u0661", False),
    ],
)
def test_a_traceparent_is_kept_only_if_it_is_one(header: str | None, kept: bool) -> None:
    assert tracing.checked(header) == (header if kept else None)


def run(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_off_it_imports_nothing_and_does_nothing() -> None:
    run("""
        import sys
        import daemon.app, daemon.serve, daemon.delivery.workflow, daemon.delivery.steps
        from daemon import tracing
        stop = tracing.start({})
        with tracing.span("a", parent=None, job_id="x") as span, tracing.child("b"):
            span.set(more=1)
            assert span.traceparent is None and not tracing.is_on()
        stop()
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """)


def test_asked_for_without_the_extra_it_is_told_and_the_daemon_runs() -> None:
    told = run("""
        import sys
        sys.modules["opentelemetry.sdk.trace"] = None  # as if it were not installed
        from daemon import tracing
        stop = tracing.start({"OTEL_TRACES_EXPORTER": "otlp"})
        assert not tracing.is_on()
        stop()
    """)
    assert "pip install opentelemetry-sdk" in told
