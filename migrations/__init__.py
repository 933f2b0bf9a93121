"""Alembic environment and versions: one chain for SQLite and PostgreSQL. `storage.migrate` runs it."""
