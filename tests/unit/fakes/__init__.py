"""Servers that behave as production's do, and worse."""
