"""Bringing tables to the revision of this code, by Alembic, all or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from crossmargin.accounts.store.schema import REVISION, Dialect
from crossmargin.errors import StoreError

_FOLDER = Path(__file__).with_name("migrations")


def upgrade(
    dialect: Dialect, connect: Callable[[], Any], begin: str, revision: str = REVISION
) -> None:
    """Run the migrations that the database lacks up to `revision`, all or none.

    Parameters
    ----------
    dialect : str
        ``sqlite`` or ``postgresql``.
    connect : callable
        Gives a raw connection, which is closed at the end.
    begin : str
        Statement that begins the transaction where the driver does not by itself; may be empty.
    revision : str
        Where to stop.
    """
    url = {"sqlite": "sqlite://", "postgresql": "postgresql+psycopg://"}[dialect]
    engine = sa.create_engine(url, creator=connect, poolclass=sa.NullPool)
    if begin:
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    with engine.begin() as connection:
        run(connection, revision)
    engine.dispose()


def run(connection: sa.Connection, revision: str = REVISION) -> None:
    """Run the migrations on a connection, within the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic reads "%" in a path as its own sign.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def check_revision(found: str | None, *, where: str, writing: bool) -> bool:
    """Say whether the tables must be upgraded first.

    Raises
    ------
    StoreError
        ``STO-003`` when a newer crossmargin wrote them, ``STO-004`` when they are older and the
        store is opened for reading only.
    """
    if found == REVISION:
        return False
    if found is None or not (found.isdigit() and len(found) == 4):
        raise StoreError(
            f"{where} says nothing readable of the revision of its tables ({found!r})",
            code="STO-012",
            hint="crossmargin ledger verify says what is damaged",
        )
    if found > REVISION:
        raise StoreError(
            f"{where} was written by a newer crossmargin: its tables are of revision {found}, "
            f"and this one knows {REVISION}",
            code="STO-003",
            hint="use that crossmargin",
        )
    if not writing:
        raise StoreError(
            f"{where} was written by an older crossmargin: its tables are of revision {found}, "
            f"and this one reads {REVISION}",
            code="STO-004",
            hint="open it once as a writer, which upgrades it; crossmargin ledger upgrade does",
        )
    return True
