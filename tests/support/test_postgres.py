from __future__ import annotations

import psycopg


def test_each_database_is_its_own(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE t (a int)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
