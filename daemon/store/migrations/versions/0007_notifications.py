"""Outgoing notifications with their outbox; when a delivery was fetched, and when its deadline was warned of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("fetched_at", sa.Double))
    op.add_column("deliveries", sa.Column("expiring_at", sa.Double))
    op.create_table(
        "notification_endpoints",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("shown_url", sa.Text, nullable=False),
        sa.Column("events", sa.Text),
        sa.Column("allow_private", sa.Boolean, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("disabled_reason", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("delivered_at", sa.Double),
        sa.Column("failing_since", sa.Double),
        sa.Column("last_error", sa.Text),
    )
    op.create_table(
        "notifications",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("last_error", sa.Text),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", sa.Double),
    )
    op.create_index("notifications_next", "notifications", ["endpoint", "next_at"])


def downgrade() -> None:
    op.drop_table("notifications")
    op.drop_table("notification_endpoints")
    op.drop_column("deliveries", "expiring_at")
    op.drop_column("deliveries", "fetched_at")
