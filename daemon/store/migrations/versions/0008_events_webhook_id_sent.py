"""A webhook-id that cannot be the key, as it was sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("webhook_id_sent", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("events", "webhook_id_sent")
