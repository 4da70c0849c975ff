"""Which of several daemons works on an intent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("claimed_by", sa.Text))
    op.add_column("jobs", sa.Column("claimed_until", sa.Double))


def downgrade() -> None:
    op.drop_column("jobs", "claimed_until")
    op.drop_column("jobs", "claimed_by")
