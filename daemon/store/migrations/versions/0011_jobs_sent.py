"""When a job's create call last went out, and how often: what tells whether Replicate may have it, once or twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("sent_at", sa.Double))
    op.add_column("jobs", sa.Column("sends", sa.Integer))
    # Of intents from before, nobody knows whether they were sent: they are looked for.
    op.execute("UPDATE jobs SET sent_at = created_at, sends = 1 WHERE submitted AND provider_job_id IS NULL")


def downgrade() -> None:
    op.drop_column("jobs", "sends")
    op.drop_column("jobs", "sent_at")
