"""Run by Alembic. The connection, and the transaction it is in, are those of freshet.adapters.sql.migrate."""

from __future__ import annotations

from alembic import context

from freshet.adapters.sql.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
