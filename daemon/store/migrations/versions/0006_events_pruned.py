"""When an event's body was pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("pruned_at", sa.Double))


def downgrade() -> None:
    op.drop_column("events", "pruned_at")
