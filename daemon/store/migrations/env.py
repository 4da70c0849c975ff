"""Run by Alembic, in the process and the transaction of ``store/migrate.py``."""

from __future__ import annotations

from alembic import context

from daemon.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
