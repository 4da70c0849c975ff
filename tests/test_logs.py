"""No secret reaches a log line."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from daemon.logs import configure_logging, redact, redact_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token r8_abcdefghijkl failed", "token r8_[redacted] failed"),
        ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_[redacted]"),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer [redacted]"),
        ("postgresql://u:pa55word@h/db", "postgresql://u:[redacted]@h/db"),
        ("https://example.com:8080/a@b", "https://example.com:8080/a@b"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_text_is_redacted_by_shape(text: str, expected: str) -> None:
    assert redact_text(text) == expected


def test_values_are_redacted_by_key_at_any_depth() -> None:
    event = redact(None, "info", {"api_token": "x", "request": {"hf_token": "y", "list": ["hf_abcdefghi"]}, "n": 1})
    assert event == {
        "api_token": "[redacted]",
        "request": {"hf_token": "[redacted]", "list": ["hf_[redacted]"]},
        "n": 1,
    }


def test_a_traceback_for_people_shows_no_variables_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console")
    try:
        hidden = "not-of-any-known-shape"
        try:
            raise ValueError(f"r8_bbbbbbbbbbbb, {len(hidden)}")
        except ValueError:
            structlog.get_logger().exception("failed")
            logging.getLogger("dbos").exception("failed there")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    text = capsys.readouterr().err
    assert text.count("ValueError: r8_[redacted]") == 2
    assert "r8_bbbb" not in text and hidden not in text


def test_lines_are_json_on_standard_error_also_from_the_standard_library(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    try:
        structlog.get_logger().info("stored", seq=3, token="r8_aaaaaaaaaa")
        logging.getLogger("aiohttp").warning("with %s", "whsec_AAAAAAAAAAAA")
        try:
            raise ValueError("r8_bbbbbbbbbbbb")
        except ValueError:
            structlog.get_logger().exception("failed")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert [line["event"] for line in lines] == ["stored", "with whsec_[redacted]", "failed"]
    assert lines[0]["token"] == "[redacted]"
    assert "r8_bbbb" not in captured.err
    assert "ValueError" in lines[2]["exception"]
