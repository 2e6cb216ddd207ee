"""Runs the migrations on the connection it is given; Alembic loads this file."""

from __future__ import annotations

from alembic import context

from crossmargin.accounts.store.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the caller's transaction holds every step
)
context.run_migrations()
