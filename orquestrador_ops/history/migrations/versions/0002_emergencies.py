"""Incidents that are acknowledged, notifications, recoveries, breakers and the watcher's cycles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    """Add what emergencies need; ``orquestrador_ops.history.schema`` says what each table holds."""
    for column in (
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("level", sa.String(length=32), nullable=True),
        sa.Column("next_at", sa.Double(), nullable=True),
        sa.Column("acknowledged_at", sa.Double(), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=255), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=True),
    ):
        op.add_column("incidents", column)
    op.create_index(op.f("ix_incidents_key_closed_at"), "incidents", ["key", "closed_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("incident_id", _ID, nullable=True),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=255), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_notifications_incident_id_at"), "notifications", ["incident_id", "at"], unique=False)
    op.create_index(op.f("ix_notifications_key_at"), "notifications", ["key", "at"], unique=False)
    op.create_table(
        "recoveries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("procedure", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("trial", sa.Boolean(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_recoveries_host_procedure_started_at"), "recoveries", ["host", "procedure", "started_at"], unique=False
    )
    op.create_index(op.f("ix_recoveries_run_id"), "recoveries", ["run_id"], unique=True)
    op.create_table(
        "breakers",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("procedure", sa.String(length=64), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=True),
        sa.Column("trial_at", sa.Double(), nullable=True),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.Column("closed_by", sa.String(length=255), nullable=True),
        sa.Column("data", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("host", "procedure"),
    )
    op.create_table(
        "watch_cycles",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("hosts", sa.Integer(), nullable=True),
        sa.Column("acted", sa.Integer(), nullable=True),
        sa.Column("data", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_watch_cycles_started_at"), "watch_cycles", ["started_at"], unique=False)
