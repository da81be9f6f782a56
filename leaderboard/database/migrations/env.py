"""What Alembic runs: the migrations, on the connection and in the transaction that engine.py began."""

from __future__ import annotations

from alembic import context

from leaderboard.database.models import Base


connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run when a store is opened, by leaderboard.database.engine.open_database")
context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
