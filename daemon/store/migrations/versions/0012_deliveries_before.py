"""Where and when a delivery that is made again had been delivered before: its row is a new one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("delivered_before", sa.Text))


def downgrade() -> None:
    op.drop_column("deliveries", "delivered_before")
