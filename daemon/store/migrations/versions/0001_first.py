"""The first schema: journal, jobs, deliveries, artifacts, settings, secrets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("events", "jobs", "deliveries", "artifacts", "settings", "secrets")


def upgrade() -> None:
    # What the columns mean is in store/schema.py. This file is history and does not follow it.
    _create_events()
    _create_jobs()
    _create_deliveries()
    _create_the_others()
    op.create_index("events_job_seq", "events", ["job_id", "seq"])
    op.create_index("jobs_created", "jobs", ["created_at", "job_id"])
    op.create_index("jobs_status", "jobs", ["status"])
    op.create_index("deliveries_status", "deliveries", ["status"])


def _create_events() -> None:
    seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "events",
        sa.Column("seq", seq, primary_key=True, autoincrement=True),
        sa.Column("webhook_id", sa.Text, nullable=False, unique=True),
        sa.Column("webhook_timestamp", sa.Text),
        sa.Column("webhook_signature", sa.Text),
        sa.Column("job_id", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_ip", sa.Text),
        sa.Column("verified", sa.Boolean, nullable=False),
        sa.Column("body_bytes", sa.BigInteger, nullable=False),
        sa.Column("base_seq", sa.BigInteger),
        sa.Column("whole_seq", sa.BigInteger),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("tail", sa.BigInteger, nullable=False),
        sa.Column("middle", sa.LargeBinary, nullable=False),
        sa.Column("body_crc32", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("provider_job_id", sa.Text, unique=True),
        sa.Column("api_kind", sa.Text, nullable=False),
        sa.Column("submitted", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("provider_status", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("hardware", sa.Text),
        sa.Column("config_name", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("queued_at", sa.Double),
        sa.Column("started_at", sa.Double),
        sa.Column("completed_at", sa.Double),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("predict_time", sa.Double),
        sa.Column("cost_usd", sa.Double),
        sa.Column("cost_estimate", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("progress", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("logs_chars", sa.BigInteger, nullable=False),
        sa.Column("output_digest", sa.Text),
        sa.Column("last_seq", sa.BigInteger),
        sa.Column("logs_seq", sa.BigInteger),
        sa.Column("idempotency_key", sa.Text, unique=True),
        sa.Column("request_digest", sa.Text),
        sa.Column("request", sa.Text),
        sa.Column("destinations", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("checked_at", sa.Double),
        sa.Column("check_after", sa.Double),
        sa.Column("delivery_generation", sa.Integer, nullable=False),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("bytes_done", sa.BigInteger, nullable=False),
        sa.Column("bytes_total", sa.BigInteger),
        sa.Column("deadline", sa.Double),
        sa.Column("updated_at", sa.Double, nullable=False),
    )


def _create_the_others() -> None:
    op.create_table(
        "artifacts",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("source_url", sa.Text),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
