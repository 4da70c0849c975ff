"""The price that was in force when a job was submitted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("usd_per_second", sa.Double))


def downgrade() -> None:
    op.drop_column("jobs", "usd_per_second")
