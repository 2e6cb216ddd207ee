"""A ledger in a PostgreSQL database, by psycopg 3.

The writer's lock is an advisory lock of its session: the server gives it back when the session
ends, however it ends. Several ledgers in one database live in schemas of their own, chosen by
``?options=-csearch_path%3DNAME`` in the URL.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from crossmargin.accounts.store._backend import EntryRow, Known, TransferLine
from crossmargin.accounts.store._lock import Holder, held
from crossmargin.accounts.store._migrate import check_revision, upgrade
from crossmargin.accounts.store._reads import Reads
from crossmargin.accounts.store.entries import Head
from crossmargin.accounts.store.schema import VERSION_TABLE, compiled, metadata
from crossmargin.errors import StoreError

if TYPE_CHECKING:
    import psycopg

#: Least version of the server: transition tables in triggers, and what is tested.
_SERVER = 120000
_CONNECT_S = 10
_SQL = compiled("postgresql")
_COPY_ENTRIES = (
    "COPY ledger_entries (seq, id, time_ns, kind, payload, transfers, hash) "
    "FROM STDIN (FORMAT BINARY)"
)
_COPY_TRANSFERS = (
    "COPY ledger_transfers (seq, line, debit, credit, asset, amount, code) "
    "FROM STDIN (FORMAT BINARY)"
)
_ENTRY_TYPES = ("int8", "text", "int8", "text", "bytea", "int8", "bytea")
_TRANSFER_TYPES = ("int8", "int8", "text", "text", "text", "text", "text")
_TABLES = tuple(sorted(metadata.tables))
_TRIGGERS = tuple(
    f"{table}_{what}"
    for table in ("ledger_entries", "ledger_transfers")
    for what in ("in_order", "no_change")
)


class PostgresBackend(Reads):
    """One session on a server; see `Backend`.

    Parameters
    ----------
    url : str
        ``postgresql://user@host/database`` or another form that libpq reads.
    holder : Holder or None
        Who writes; None opens for reading.
    create : bool
        Make the tables where there are none.
    lenient : bool
        Open for reading without looking at the revision.
    """

    _sql = _SQL

    def __init__(
        self, url: str, holder: Holder | None, *, create: bool = False, lenient: bool = False
    ) -> None:
        self._driver = _psycopg()
        self._url = url
        self.where = f"ledger {_shown(self._driver, url)}"
        self.taken_over: Holder | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._signed = False
        with self._said("open"):
            self._connection = self._connect()
        try:
            with self._said("open"):
                self._prepare(holder, create, lenient)
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------- opening

    def _connect(self) -> psycopg.Connection[Any]:
        made: psycopg.Connection[Any] = self._driver.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_S, application_name="crossmargin"
        )
        return made

    def _prepare(self, holder: Holder | None, create: bool, lenient: bool) -> None:
        self._check_server()
        if holder is None:
            self._db.execute("SET default_transaction_read_only = on")
            self._must_be_there()
            if not lenient:
                check_revision(self._revision(), where=self.where, writing=False)
            return
        self._db.execute("SET synchronous_commit = on")
        if not create:
            self._must_be_there()
        self._take_lock()
        if not self._is_there() or check_revision(self._revision(), where=self.where, writing=True):
            upgrade("postgresql", self._connect_plainly, "")
        self._sign(holder)

    def _connect_plainly(self) -> psycopg.Connection[Any]:
        """Connect as SQLAlchemy wants it: with transactions."""
        made: psycopg.Connection[Any] = self._driver.connect(self._url, connect_timeout=_CONNECT_S)
        return made

    def _check_server(self) -> None:
        if self._db.info.server_version < _SERVER:
            raise self._unsuited("it is older than version 12")
        if self._show("server_encoding") != "UTF8":
            raise self._unsuited("the database is not encoded in UTF8")
        for setting in ("fsync", "full_page_writes"):
            if self._show(setting) != "on":
                raise self._unsuited(f"it runs with {setting} off, and may lose what it confirmed")

    def _unsuited(self, why: str) -> StoreError:
        return StoreError(
            f"the server of {self.where} cannot keep a ledger: {why}",
            code="STO-014",
            hint="see docs/store.md",
        )

    def _show(self, setting: str) -> str:
        return str(self._rows(f"SHOW {setting}")[0][0])

    def _is_there(self) -> bool:
        return bool(self._rows("SELECT to_regclass(%s) IS NOT NULL", (VERSION_TABLE,))[0][0])

    def _must_be_there(self) -> None:
        if not self._is_there():
            raise StoreError(
                f"no {self.where}: the database has no tables of a ledger",
                code="STO-001",
                hint="check the URL; crossmargin ledger init makes a ledger",
            )

    def _take_lock(self) -> None:
        """Take the lock of this schema's ledger, or say who has it."""
        schema = self._rows("SELECT current_schema()")[0][0]
        number = hashlib.sha256(f"crossmargin-ledger {schema}".encode()).digest()[:8]
        key = int.from_bytes(number, "big", signed=True)
        if self._rows("SELECT pg_try_advisory_lock(%s::bigint)", (key,))[0][0]:
            return
        holder = None
        with contextlib.suppress(self._driver.Error, TypeError):
            if rows := self._rows(_SQL["writer"]):
                holder = Holder(*rows[0])
        raise held(self.where, holder)

    def _revision(self) -> str | None:
        rows = self._rows(_SQL["version"])
        return str(rows[0][0]) if len(rows) == 1 else None

    def _sign(self, holder: Holder) -> None:
        with self._db.transaction():
            for row in self._rows(_SQL["writer"]):
                self.taken_over = Holder(*row)
            self._db.execute(_SQL["drop_writer"])
            self._db.execute(
                _SQL["add_writer"], (1, holder.name, holder.pid, holder.host, holder.since_ns)
            )
        self._signed = True

    # ------------------------------------------------------------------------- reading

    @property
    def _db(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        return self._connection

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(sql, values, binary=True).fetchall()  # type: ignore[arg-type,unused-ignore]

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Return the entries that are there already."""
        sql = "SELECT id, seq, time_ns, kind, payload, hash FROM ledger_entries WHERE id = ANY(%s)"
        with self._said("read"):
            return {row[0]: row[1:] for row in self._rows(sql, (list(ids),))}

    # ------------------------------------------------------------------------- writing

    def begin(self) -> None:
        """Begin to write."""
        with self._said("write to"):
            self._db.execute("BEGIN")

    def insert(self, entries: Sequence[EntryRow], transfers: Sequence[TransferLine]) -> None:
        """Write rows; transfers first, for a trigger refuses them once their entry is there."""
        with self._said("write to"), self._db.cursor() as cursor:
            for sql, types, rows in (
                (_COPY_TRANSFERS, _TRANSFER_TYPES, transfers),
                (_COPY_ENTRIES, _ENTRY_TYPES, entries),
            ):
                if not rows:
                    continue
                with cursor.copy(sql) as copy:
                    copy.set_types(types)
                    for row in rows:
                        copy.write_row(row)

    def commit(self) -> None:
        """Return when the transaction is on the server's disk."""
        with self._said("write to"):
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Give the transaction up."""
        with contextlib.suppress(self._driver.Error):
            status = self._db.info.transaction_status
            if not self._db.closed and status != self._driver.pq.TransactionStatus.IDLE:
                self._db.execute("ROLLBACK")

    def witness(self, head: Head) -> None:
        """Do nothing: a server has no file beside it that this machine could keep."""

    def acknowledged(self) -> Head | str | None:
        """Return None: see `witness`."""
        return None

    def put_snapshot(self, name: str, seq: int, data: bytes, digest: bytes) -> None:
        """Keep one snapshot of a name."""
        with self._said("write to"), self._db.transaction():
            self._db.execute(_SQL["drop_snapshots"], (name,))
            self._db.execute(_SQL["add_snapshot"], (name, seq, data, digest))

    def snapshots(self, name: str, most: int) -> list[tuple[int, bytes, bytes]]:
        """Return snapshots, the latest first."""
        with self._said("read"):
            return self._rows(_SQL["snapshot"], (name, most))

    # ------------------------------------------------------------------------- looking for damage

    def check_pages(self) -> list[str]:
        """Compare the index of ids with the table; the server checks its own pages as it reads."""
        with self._said("read"):
            (by_table,) = self._rows("SELECT count(*) FROM ledger_entries")[0]
            with self._db.transaction():
                self._db.execute("SET LOCAL enable_seqscan = off")
                (by_index,) = self._rows(
                    "SELECT count(*) FROM (SELECT id FROM ledger_entries ORDER BY id OFFSET 0) AS i"
                )[0]
        if by_table > by_index:
            return [f"the index of ids knows {by_index} of {by_table} entries"]
        return []

    def check_schema(self) -> list[str]:
        """Look for the tables and for the triggers, which must be in force."""
        with self._said("read"):
            tables = {
                row[0] for row in self._rows(
                    "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
                )
            }  # fmt: skip
            triggers = {
                row[0]: row[1] for row in self._rows(
                    "SELECT tgname::text, tgenabled::text FROM pg_trigger JOIN pg_class c "
                    "ON c.oid = tgrelid WHERE c.relnamespace = "
                    "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
                )
            }  # fmt: skip
        out = [f"table {name} is missing" for name in _TABLES if name not in tables]
        out += [f"trigger {name} is missing" for name in _TRIGGERS if name not in triggers]
        return out + [
            f"trigger {name} is switched off"
            for name in _TRIGGERS
            if triggers.get(name, "O") not in ("O", "A")
        ]

    # ------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Give the lock back and close."""
        if self._connection is None:
            return
        with contextlib.suppress(self._driver.Error):
            self.rollback()
            if self._signed:
                self._connection.execute(_SQL["drop_writer"])
        with contextlib.suppress(self._driver.Error):
            self._connection.close()
        self._connection = None

    @contextlib.contextmanager
    def _said(self, doing: str) -> Iterator[None]:
        """Turn the driver's errors into sentences."""
        try:
            yield
        except self._driver.Error as error:
            raise self._translated(error, doing) from None
        except Exception as error:
            # SQLAlchemy wraps the driver's error while the tables are made or upgraded.
            inner = getattr(error, "orig", None)
            if isinstance(inner, self._driver.Error):
                raise self._translated(inner, doing) from None
            raise

    def _translated(self, error: psycopg.Error, doing: str) -> StoreError:
        state = error.sqlstate or ""
        words = " ".join(str(error).split()) or type(error).__name__
        code, hint = next(
            (found[1:] for found in _STATES if state.startswith(found[0])),
            ("STO-012", "crossmargin ledger verify says what is damaged"),
        )
        if not state and self._connection is None:
            code, hint = "STO-014", "check that the server runs, and the URL"
        elif not state:
            code, hint = "STO-011", "open the ledger again and send what was not acknowledged again"
        return StoreError(f"cannot {doing} {self.where}: {words}", code=code, hint=hint)


#: Classes of SQLSTATE: code of ours, remedy.
_STATES = (
    ("53100", "STO-009", "make room on the server's disk and send it again"),
    ("53", "STO-014", "the server has no resources left"),
    ("25006", "STO-010", "the server is a standby, or the session may only read"),
    ("42501", "STO-010", "give the user the right to it"),
    ("28", "STO-014", "check user and password"),
    ("3D", "STO-014", "make the database first"),
    ("08", "STO-011", "open the ledger again and send what was not acknowledged again"),
    ("57P", "STO-011", "open the ledger again and send what was not acknowledged again"),
    ("55P03", "STO-005", "another session holds it"),
    ("58", "STO-011", "check the server's disk and its log"),
)


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise StoreError(
            "a ledger in PostgreSQL needs psycopg, which is not installed",
            code="STO-014",
            hint="pip install 'crossmargin[postgres]'",
        ) from None
    return psycopg


def _shown(driver: Any, url: str) -> str:
    """Return a URL in words, without a password."""
    try:
        parts = driver.conninfo.conninfo_to_dict(url)
    except driver.Error:
        raise StoreError(
            "the URL of the ledger cannot be read",
            code="STO-001",
            hint="write postgresql://user@host/database",
        ) from None
    return f"{str(parts.get('dbname', ''))!r} on {parts.get('host', 'this machine')}"
