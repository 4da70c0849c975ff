"""What goes wrong at a store, as an outcome of the delivery."""

from __future__ import annotations

import pytest

from daemon.delivery.errors import Permanent, Retry
from daemon.delivery.judging import answered, file_gone, judged, one_line


def test_a_problem_becomes_the_outcome_and_names_what_was_done() -> None:
    with (
        pytest.raises(Retry, match=r"^commit: odd$") as raised,
        judged("commit", lambda problem, what: Retry(f"{what}: {problem}")),
    ):
        raise ValueError("odd")
    assert raised.value.__suppress_context__


def test_what_ends_the_program_is_no_outcome() -> None:
    with pytest.raises(KeyboardInterrupt), judged("commit", lambda _problem, _what: Retry("caught")):
        raise KeyboardInterrupt


def test_texts_stay_on_one_line_and_short() -> None:
    assert one_line("a\n  b\t c") == "a b c"
    assert len(one_line("x" * 900)) == 500


def test_an_answer_says_status_advice_and_words() -> None:
    assert answered("put m.bin", "403", "set the token", "no\nway") == "put m.bin: 403, set the token (no way)"
    assert answered("put m.bin", 500, None, None) == "put m.bin: 500"
    assert len(answered("put", 500, None, "x" * 900)) < 400


def test_a_file_that_is_gone_is_final() -> None:
    assert isinstance(file_gone("m.bin"), Permanent)
    assert "m.bin: the fetched file is no longer in the staging folder" in str(file_gone("m.bin"))
