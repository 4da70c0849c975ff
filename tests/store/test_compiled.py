"""Statements in the driver's own words: their failures are SQLAlchemy's, so that the store knows what they mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.store.compiled import fetch
from daemon.store.database import database_url, is_unavailable, writing_engine


def test_a_connection_that_was_lost_within_a_transaction(postgres_url: str, tmp_path: Path) -> None:
    engine = writing_engine(database_url(postgres_url, tmp_path))
    with engine.connect() as connection:
        assert fetch(connection, "SELECT 1") == [(1,)]
        connection.connection.driver_connection.close()  # type: ignore[union-attr]
        with pytest.raises(sa.exc.DBAPIError) as raised:
            fetch(connection, "SELECT 1")
        assert is_unavailable(raised.value)
        connection.invalidate()


def test_a_statement_that_is_wrong(tmp_path: Path) -> None:
    with writing_engine(database_url(None, tmp_path)).connect() as connection:
        with pytest.raises(sa.exc.DBAPIError, match="no such table"):
            fetch(connection, "SELECT * FROM elsewhere")
        assert fetch(connection, "SELECT ?", ("still here",)) == [("still here",)]
