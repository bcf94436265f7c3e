"""Samples that are packed by the hour and rolled up by the day, and what was counted in logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BYTES = sa.LargeBinary(length=16777215)


def upgrade() -> None:
    """Add what service levels need; ``orquestrador_ops.history.schema`` says what each table holds."""
    op.create_table(
        "sample_blocks",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("start_at", sa.Double(), nullable=False),
        sa.Column("layout", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("errors_day", sa.Integer(), nullable=True),
        sa.Column("data", _BYTES, nullable=False),
        sa.PrimaryKeyConstraint("host", "start_at"),
    )
    op.create_table(
        "sample_rollups",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("start_at", sa.Double(), nullable=False),
        sa.Column("resolution_s", sa.Integer(), nullable=False),
        sa.Column("layout", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("good", sa.Integer(), nullable=False),
        sa.Column("data", _BYTES, nullable=False),
        sa.PrimaryKeyConstraint("host", "start_at"),
    )
    op.create_table(
        "log_counts",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("start_at", sa.Double(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host", "start_at", "source"),
    )
