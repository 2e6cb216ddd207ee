"""The log: entries, their transfers, and who writes.

A migration is history: it repeats the tables as they were instead of importing them. The
triggers are one law in two dialects: what lies in the log is neither changed nor removed, nor does
an old entry get another transfer.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHANGED = "the log is append-only"
_SQLITE_TRIGGERS = (
    *(
        f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END"
        for table in ("ledger_entries", "ledger_transfers")
        for action in ("UPDATE", "DELETE")
    ),
    # INSERT OR REPLACE deletes without asking the triggers of DELETE, so inserting is watched too.
    "CREATE TRIGGER ledger_entries_in_order BEFORE INSERT ON ledger_entries "
    "WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM ledger_entries) "
    "OR EXISTS (SELECT 1 FROM ledger_entries WHERE id = NEW.id) "
    f"BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END",
    "CREATE TRIGGER ledger_transfers_in_order BEFORE INSERT ON ledger_transfers "
    "WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM ledger_entries) "
    f"BEGIN SELECT RAISE(ABORT, '{_CHANGED}'); END",
)

_POSTGRES_TRIGGERS = (
    "CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_CHANGED}' USING ERRCODE = 'restrict_violation'; END $$",
    *(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
        for table in ("ledger_entries", "ledger_transfers")
    ),
    "CREATE FUNCTION ledger_entries_in_order() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "DECLARE low bigint; high bigint; many bigint; before bigint; BEGIN "
    "SELECT min(seq), max(seq), count(*) INTO low, high, many FROM added; "
    "SELECT coalesce(max(seq), 0) INTO before FROM ledger_entries WHERE seq < low; "
    "IF many > 0 AND (low <> before + 1 OR high - low + 1 <> many OR EXISTS "
    "(SELECT 1 FROM ledger_entries WHERE seq > high)) THEN "
    f"RAISE EXCEPTION '{_CHANGED}' USING ERRCODE = 'restrict_violation'; END IF; "
    "RETURN NULL; END $$",
    "CREATE FUNCTION ledger_transfers_in_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF (SELECT min(seq) FROM added) <= (SELECT coalesce(max(seq), 0) FROM ledger_entries) THEN "
    f"RAISE EXCEPTION '{_CHANGED}' USING ERRCODE = 'restrict_violation'; END IF; "
    "RETURN NULL; END $$",
    *(
        f"CREATE TRIGGER {table}_in_order AFTER INSERT ON {table} "
        "REFERENCING NEW TABLE AS added "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_in_order()"
        for table in ("ledger_entries", "ledger_transfers")
    ),
)


def upgrade() -> None:
    """Create the tables and the triggers that make them append-only."""
    op.create_table(
        "ledger_entries",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("time_ns", _BIG, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("transfers", _BIG, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("id", name="ledger_entries_id"),
    )
    op.create_table(
        "ledger_transfers",
        sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
        sa.Column("line", _BIG, primary_key=True, autoincrement=False),
        sa.Column("debit", sa.Text, nullable=False),
        sa.Column("credit", sa.Text, nullable=False),
        sa.Column("asset", sa.Text, nullable=False),
        sa.Column("amount", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_writer",
        sa.Column("slot", _BIG, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("pid", _BIG, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("since_ns", _BIG, nullable=False),
    )
    bind = op.get_bind()
    for statement in _SQLITE_TRIGGERS if bind.dialect.name == "sqlite" else _POSTGRES_TRIGGERS:
        bind.exec_driver_sql(statement)
