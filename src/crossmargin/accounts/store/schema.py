"""The tables, once for SQLite and PostgreSQL.

SQLAlchemy Core describes them, and the statements of the hot path are compiled from it, so that
the two databases cannot drift apart. The triggers that make the log append-only are in the
migration that created it.
"""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

Dialect = Literal["sqlite", "postgresql"]

#: The revision this code reads and writes.
REVISION = "0002"
VERSION_TABLE = "ledger_version"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

metadata = sa.MetaData()

entries = sa.Table(
    "ledger_entries",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("time_ns", _BIG, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("transfers", _BIG, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("id", name="ledger_entries_id"),
)

# Amounts are decimal digits: a 64-bit column would overflow with coins of many units, and a
# NUMERIC one becomes a rounded float in SQLite.
transfers = sa.Table(
    "ledger_transfers",
    metadata,
    sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
    sa.Column("line", _BIG, primary_key=True, autoincrement=False),
    sa.Column("debit", sa.Text, nullable=False),
    sa.Column("credit", sa.Text, nullable=False),
    sa.Column("asset", sa.Text, nullable=False),
    sa.Column("amount", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

# Who writes, in words; the lock itself is the operating system's or the server's.
writer = sa.Table(
    "ledger_writer",
    metadata,
    sa.Column("slot", _BIG, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("pid", _BIG, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("since_ns", _BIG, nullable=False),
)

snapshots = sa.Table(
    "ledger_snapshots",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seq", _BIG, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)


def statements() -> dict[str, sa.sql.ClauseElement]:
    """Return the statements that both databases run, by name; values are bound in order."""
    low: sa.BindParameter[int] = sa.bindparam("low")
    high: sa.BindParameter[int] = sa.bindparam("high")
    name: sa.BindParameter[str] = sa.bindparam("called")
    zero: sa.ColumnElement[int] = sa.literal_column("0")
    one: sa.ColumnElement[int] = sa.literal_column("1")
    last = sa.select(sa.func.coalesce(sa.func.max(entries.c.seq), zero)).scalar_subquery()
    e, t, s = entries.c, transfers.c, snapshots.c
    return {
        "head": sa.select(e.seq, e.hash).where(e.seq == last),
        "hash_at": sa.select(e.hash).where(e.seq == low),
        "entries": sa.select(*e).where(e.seq.between(low, high)).order_by(e.seq),
        "transfers": sa.select(*t).where(t.seq.between(low, high)).order_by(t.seq, t.line),
        "next_entry": sa.select(sa.func.min(e.seq)).where(e.seq >= low),
        "transfers_below": sa.select(sa.func.count()).where(t.seq < one),
        "transfers_above": sa.select(sa.func.count()).where(t.seq > last),
        "add_entry": sa.insert(entries),
        "add_transfer": sa.insert(transfers),
        "writer": sa.select(*list(writer.c)[1:]),
        "drop_writer": sa.delete(writer),
        "add_writer": sa.insert(writer),
        "snapshot": sa.select(s.seq, s.data, s.digest)
        .where((s.name == name) & (s.seq <= high))
        .order_by(s.seq.desc()),
        "drop_snapshots": sa.delete(snapshots).where(s.name == name),
        "add_snapshot": sa.insert(snapshots),
        "version": sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)),
    }


def compiled(dialect: Dialect) -> dict[str, str]:
    """Return the text of each statement as the driver takes it, with positional parameters."""
    from sqlalchemy.dialects import postgresql, sqlite

    made: sa.Dialect
    if dialect == "sqlite":
        made = sqlite.dialect(paramstyle="qmark")
    else:
        made = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
    out = {}
    for name, statement in statements().items():
        out[name] = " ".join(str(statement.compile(dialect=made)).split())
    return out
