"""Alembic migrations of the history store; run by :mod:`orquestrador_ops.history.store`, not by hand."""
