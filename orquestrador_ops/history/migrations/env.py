"""Alembic's environment: the connection is handed in by :mod:`orquestrador_ops.history.store`."""

from __future__ import annotations

from alembic import context

from orquestrador_ops.history.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
