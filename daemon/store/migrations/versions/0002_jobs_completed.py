"""An index for what was spent since a day, a week or a month began."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("jobs_completed", "jobs", ["completed_at"])


def downgrade() -> None:
    op.drop_index("jobs_completed", "jobs")
