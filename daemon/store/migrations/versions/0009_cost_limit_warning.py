"""What a cost limit that warns said to a submit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("cost_limit_warning", sa.Text))


def downgrade() -> None:
    op.drop_column("jobs", "cost_limit_warning")
