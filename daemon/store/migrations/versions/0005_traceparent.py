"""The trace that an event and a job belong to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("traceparent", sa.Text))
    op.add_column("jobs", sa.Column("traceparent", sa.Text))


def downgrade() -> None:
    op.drop_column("jobs", "traceparent")
    op.drop_column("events", "traceparent")
