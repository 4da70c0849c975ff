"""The address of a receiver that a command was given."""

from __future__ import annotations

import pytest

from daemon.cli.exits import Usage
from daemon.cli.receiver_url import receiver_url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/api/webhooks/replicate"),
        ("https://other.example.com/", "https://other.example.com/api/webhooks/replicate"),
        ("https://other.example.com/hooks?job=1", "https://other.example.com/hooks?job=1"),
    ],
)
def test_the_path_is_added_where_there_is_none(given: str, url: str) -> None:
    assert receiver_url(given, "trigger") == url


@pytest.mark.parametrize("given", ["", "other.example.com", "ftp://other.example.com", "http://", "http://x:99999"])
@pytest.mark.parametrize("command", ["trigger", "events replay"])
def test_what_is_not_a_url_is_refused_in_the_name_of_the_command(given: str, command: str) -> None:
    with pytest.raises(Usage, match=f"^{command}: .* is not a URL"):
        receiver_url(given, command)
