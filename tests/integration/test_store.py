"""One contract, two databases: what is appended is there, once, unchangeable, and proves it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace

import pytest
from tests.ledger_entries import content, made_entries, made_entry, wanted
from tests.postgres import PostgresServer, running_server

from crossmargin.accounts.store import (
    Entry,
    Head,
    TransferRow,
    create_store,
    open_store,
    parse_head,
    verify_store,
)
from crossmargin.accounts.store import _migrate as migrate
from crossmargin.accounts.store.schema import REVISION, VERSION_TABLE, metadata
from crossmargin.errors import StoreError


@pytest.fixture(scope="session")
def server():
    with running_server() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """An empty place for a ledger."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    server: PostgresServer = request.getfixturevalue("server")
    return server.database("contract")


def refused(code: str, call, *arguments, **named) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code, caught.value
    assert "\n" not in str(caught.value)
    return caught.value


def statement(place: str, sql: str) -> None:
    """Run SQL behind the store's back."""
    if place.startswith("postgresql"):
        import psycopg

        with psycopg.connect(place) as connection:
            connection.execute(sql)
    else:
        connection = sqlite3.connect(place)
        try:
            connection.execute(sql)
            connection.commit()
        finally:
            connection.close()


# ------------------------------------------------------------------------------ append and read


def test_what_is_appended_is_read_in_order(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        assert store.head() == Head(0, hashlib.sha256(b"crossmargin-ledger/1").digest())
        assert list(store.read()) == [] and store.append([]) == []
        first = store.append(made_entries(1, 3))
        second = store.append(made_entries(4, 4500))  # more than a piece of reading
        assert [a.seq for a in first + second] == list(range(1, 4501))
        assert not any(a.duplicate for a in first + second)
    with open_store(place) as store:
        assert store.head() == Head(4500, second[-1].hash)
        records = list(store.read())
        assert [content(r) for r in records] == [wanted(i) for i in range(1, 4501)]
        assert [r.hash for r in records] == [a.hash for a in first + second]
        assert [r.seq for r in store.read(1999, 2002)] == [1999, 2000, 2001, 2002]
        assert [r.seq for r in store.read(4499)] == [4499, 4500]
        assert list(store.read(4501)) == [] and list(store.read(5, 4)) == []
        found = store.verify()
        assert found.ok and found.entries == 4500 and found.head == store.head()


def test_the_chain_is_that_of_a_second_implementation(place) -> None:
    """MessagePack by hand, link by link."""
    with open_store(place, writer="a", create=True) as store:
        done = store.append([*made_entries(1, 40), Entry("é" * 40, -5, "k" * 200, b"x" * 70_000)])
    last = hashlib.sha256(b"crossmargin-ledger/1").digest()
    entries = [*made_entries(1, 40), Entry("é" * 40, -5, "k" * 200, b"x" * 70_000)]
    for seq, (entry, ack) in enumerate(zip(entries, done), 1):
        rows = [[t.debit, t.credit, t.asset, str(t.amount), t.code] for t in entry.transfers]
        raw = pack([seq, entry.id, entry.time_ns, entry.kind, entry.payload, rows])
        last = hashlib.sha256(last + raw).digest()
        assert ack.hash == last


def pack(value: object) -> bytes:
    """MessagePack as its specification writes it, shortest forms, for what an entry holds."""
    if isinstance(value, int):
        forms = [(0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)] if value >= 0 else []
        if 0 <= value < 128 or -32 <= value < 0:
            return value.to_bytes(1, "big", signed=value < 0)
        for head, size in forms:
            if value < 256**size:
                return bytes([head]) + value.to_bytes(size, "big")
        for head, size in [(0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)]:
            if -(256**size) // 2 <= value:
                return bytes([head]) + value.to_bytes(size, "big", signed=True)
    if isinstance(value, str):
        raw = value.encode()
        return sized(len(raw), (0xA0, 32), (0xD9, 0xDA, 0xDB)) + raw
    if isinstance(value, bytes):
        return sized(len(value), None, (0xC4, 0xC5, 0xC6)) + value
    assert isinstance(value, list)
    return sized(len(value), (0x90, 16), (None, 0xDC, 0xDD)) + b"".join(map(pack, value))


def sized(length: int, short: tuple[int, int] | None, heads: tuple[int | None, ...]) -> bytes:
    if short and length < short[1]:
        return bytes([short[0] + length])
    for head, size in zip(heads, (1, 2, 4)):
        if head is not None and length < 256**size:
            return bytes([head]) + length.to_bytes(size, "big")
    raise AssertionError(length)


def test_a_duplicate_changes_nothing_and_another_payload_is_refused(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        first = store.append(made_entries(1, 5))
        again = store.append([made_entry(6), made_entry(2), made_entry(6), made_entry(7)])
        assert [(a.seq, a.duplicate) for a in again] == [
            (6, False), (2, True), (6, True), (7, False),
        ]  # fmt: skip
        assert again[1].hash == first[1].hash and again[2].hash == again[0].hash
        # The transfers follow from the payload: a second attempt may come without them.
        assert store.append([replace(made_entry(3), transfers=())])[0].duplicate
        for other in (
            replace(made_entry(3), payload=b"another"),
            replace(made_entry(3), time_ns=1),
            replace(made_entry(3), kind="fee"),
        ):
            told = refused("STO-008", store.append, [made_entry(8), other])
            assert "event-3" in str(told) and "entry 3" in str(told)
        assert store.head().seq == 7  # nothing of the refused calls
        assert [content(r) for r in store.read()] == [wanted(i) for i in range(1, 8)]


T = TransferRow("a", "b", "USD", 1, "x")


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (Entry("", 1, "k", b""), "id"),
        (Entry("a\n", 1, "k", b""), "id"),
        (Entry("a\0", 1, "k", b""), "id"),
        (Entry("\ud800", 1, "k", b""), "id"),
        (Entry("a" * 257, 1, "k", b""), "id"),
        (Entry(7, 1, "k", b""), "id"),  # type: ignore[arg-type]
        (Entry("a", 2**63, "k", b""), "time_ns"),
        (Entry("a", 1.0, "k", b""), "time_ns"),  # type: ignore[arg-type]
        (Entry("a", True, "k", b""), "time_ns"),
        (Entry("a", 1, "", b""), "kind"),
        (Entry("a", 1, "k", "text"), "payload"),  # type: ignore[arg-type]
        (Entry("a", 1, "k", bytes(16 * 2**20 + 1)), "payload"),
        (Entry("a", 1, "k", b"", (T, T._replace(amount=0))), "transfers[1].amount"),
        (Entry("a", 1, "k", b"", (T._replace(amount=-1),)), "transfers[0].amount"),
        (Entry("a", 1, "k", b"", (T._replace(amount=10**38),)), "transfers[0].amount"),
        (Entry("a", 1, "k", b"", (T._replace(amount=1.0),)), "transfers[0].amount"),
        (Entry("a", 1, "k", b"", (T._replace(amount=True),)), "transfers[0].amount"),
        (Entry("a", 1, "k", b"", (T._replace(debit="b"),)), "transfers[0]"),
        (Entry("a", 1, "k", b"", (T._replace(asset=""),)), "transfers[0].asset"),
        (Entry("a", 1, "k", b"", (T._replace(code=[]),)), "transfers[0].code"),
    ],
)
def test_what_cannot_be_stored_is_refused_whole(entry, field, tmp_path) -> None:
    with open_store(tmp_path / "l", writer="a", create=True) as store:
        told = refused("STO-007", store.append, [made_entry(1), entry])
        assert told.field == field
        assert store.head().seq == 0
        assert store.append([made_entry(1)])[0].seq == 1


def test_a_member_of_a_string_enumeration_is_the_string_it_means(place) -> None:
    from enum import StrEnum

    class Code(StrEnum):
        FEE = "fee-code"

    with open_store(place, writer="a", create=True) as store:
        store.append([Entry("1", 1, "k", b"", (T._replace(code="fee-code"),))])
        store.append([Entry("2", 1, Code.FEE, b"", (T._replace(code=Code.FEE),))])
        assert [r.transfers[0].code for r in store.read()] == ["fee-code", "fee-code"]
        assert store.verify().ok


# ------------------------------------------------------------------------------ one writer


def test_a_second_writer_is_refused_and_told_who(place) -> None:
    clock = lambda: 1_770_000_000_123_456_789
    with open_store(place, writer="day desk", create=True, clock=clock) as store:
        told = str(refused("STO-005", open_store, place, writer="night desk"))
        assert "'day desk'" in told and f"process {os.getpid()}" in told
        assert "since 2026-02-02T02:40:00Z" in told
        with open_store(place) as reader:  # readers are never hindered
            store.append(made_entries(1, 10))
            assert reader.head().seq == 10 and len(list(reader.read())) == 10
            refused("STO-006", reader.append, [made_entry(11)])
            refused("STO-006", reader.snapshot_put, "state", 0, b"")
    with open_store(place, writer="night desk") as store:
        assert store.taken_over is None
    refused("STO-006", store.append, [made_entry(11)])


def test_another_process_holds_the_lock_until_it_dies(place) -> None:
    code = f"""
        from crossmargin.accounts.store import open_store
        store = open_store({place!r}, writer="doomed", create=True)
        print("held", flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        told = str(refused("STO-005", open_store, place, writer="next"))
        assert f"'doomed' (process {child.pid} on " in told
        child.kill()
    with open_store(place, writer="next", wait_s=5.0) as store:
        assert store.taken_over is not None
        assert (store.taken_over.name, store.taken_over.pid) == ("doomed", child.pid)
        assert store.append([made_entry(1)])[0].seq == 1
    with open_store(place, writer="last") as store:
        assert store.taken_over is None


def test_a_reader_reads_while_a_writer_is_within_a_commit(place) -> None:
    with open_store(place, writer="a", create=True) as store, open_store(place) as reader:
        store.append(made_entries(1, 5))
        backend = store._backend
        commit, seen = backend.commit, []

        def slow() -> None:
            seen.append((reader.head().seq, len(list(reader.read()))))
            commit()
            seen.append((reader.head().seq, len(list(reader.read()))))

        backend.commit = slow
        store.append(made_entries(6, 8))
        assert seen == [(5, 5), (8, 8)]
        backend.commit = commit


def test_threads_share_a_writer(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        acks: list[int] = []

        def work(part: int) -> None:
            for i in range(20):
                acks.extend(a.seq for a in store.append([made_entry(part * 100 + i)]))

        threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(acks) == list(range(1, 81)) and store.verify().ok


def test_a_log_that_somebody_else_wrote_to_is_not_built_on(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        store.append(made_entries(1, 3))
        empty = "''" if place.startswith("postgresql") else "x''"
        statement(place, f"INSERT INTO ledger_entries VALUES (4, 'x', 1, 'k', {empty}, 0, {empty})")
        told = refused("STO-013", store.append, [made_entry(4)])
        assert "entry 4" in str(told)
        refused("STO-006", store.append, [made_entry(4)])
    found = verify_store(place)
    assert (found.ok, found.first_bad, found.entries) == (False, 4, 3)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE ledger_entries SET kind = 'x' WHERE seq = 2",
        "DELETE FROM ledger_entries WHERE seq = 3",
        "UPDATE ledger_transfers SET amount = '5' WHERE seq = 2",
        "DELETE FROM ledger_transfers WHERE seq <= 3",
        "INSERT INTO ledger_transfers VALUES (2, 9, 'a', 'b', 'USD', '1', 'x')",
        "INSERT INTO ledger_entries VALUES (6, 'x', 1, 'k', {empty}, 0, {empty})",
        "INSERT INTO ledger_entries VALUES (0, 'x', 1, 'k', {empty}, 0, {empty})",
        "INSERT OR REPLACE INTO ledger_entries VALUES (2, 'x', 1, 'k', {empty}, 0, {empty})",
        "INSERT OR REPLACE INTO ledger_entries VALUES (4, 'event-2', 1, 'k', {empty}, 0, {empty})",
        "INSERT OR REPLACE INTO ledger_transfers SELECT seq, line, debit, credit, asset, '1', code "
        "FROM ledger_transfers WHERE seq = 2",
        "TRUNCATE ledger_transfers",
        "INSERT INTO ledger_entries VALUES (2, 'x', 1, 'k', {empty}, 0, {empty}) "
        "ON CONFLICT (seq) DO UPDATE SET kind = 'x'",
    ],
)
def test_the_database_itself_refuses_changes(place, sql) -> None:
    server = place.startswith("postgresql")
    if ("OR REPLACE" in sql and server) or ("TRUNCATE" in sql and not server):
        pytest.skip("not in this database's language")
    with open_store(place, writer="a", create=True) as store:
        store.append(made_entries(1, 3))
        before = list(store.read())
    import psycopg

    with pytest.raises((sqlite3.Error, psycopg.Error), match="append-only"):
        statement(place, sql.replace("{empty}", "''" if server else "x''"))
    with open_store(place) as store:
        assert list(store.read()) == before and store.verify().ok


# ------------------------------------------------------------------------------ places


def test_init_and_places_without_a_ledger(place) -> None:
    refused("STO-001", open_store, place)
    refused("STO-001", open_store, place, writer="a")
    refused("STO-001", verify_store, place)
    create_store(place)
    refused("STO-002", create_store, place)
    with open_store(place) as store:
        assert store.head().seq == 0 and store.verify().ok


def test_files_that_are_no_ledgers(tmp_path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are notes\n" * 1000)
    other = tmp_path / "other.db"
    statement(str(other), "CREATE TABLE birds (name TEXT)")
    for path, code in ((text, "STO-012"), (other, "STO-001"), (tmp_path, "STO-001")):
        before = None if path.is_dir() else path.read_bytes()
        refused(code, open_store, path)
        refused(code, open_store, path, writer="a")
        refused("STO-002", create_store, path)
        assert path.is_dir() or path.read_bytes() == before
    assert not verify_store(text).ok
    refused("STO-001", open_store, "mysql://x/y")
    refused("STO-001", open_store, "sqlite://")
    refused("STO-010", create_store, tmp_path / "none" / "l")
    refused("STO-007", open_store, tmp_path / "l", writer="a\nb")
    create_store(f"sqlite:///{tmp_path}/by url")
    assert verify_store(tmp_path / "by url").ok


def test_a_password_is_not_shown() -> None:
    told = refused("STO-014", open_store, "postgresql://me:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(told) and "127.0.0.1" in str(told)
    refused("STO-001", open_store, "postgresql://[:::/x")


def test_a_server_that_does_not_keep_is_refused(server) -> None:
    """The store asks the server for what durability rests on."""
    import psycopg

    url = server.database("latin")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE latin")
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
    try:
        assert "UTF8" in str(refused("STO-014", open_store, url, writer="a", create=True))
        url = server.database("kept")
        told = str(refused("STO-014", open_store, url, writer="a", create=True))
        assert "full_page_writes" in told
    finally:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET full_page_writes")
            connection.execute("SELECT pg_reload_conf()")


def test_two_ledgers_in_schemas_of_one_database(server) -> None:
    import psycopg

    url = server.database("shared")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA one")
        connection.execute("CREATE SCHEMA two")
    one, two = (f"{url}&options=-csearch_path%3D{name}" for name in ("one", "two"))
    with (
        open_store(one, writer="a", create=True) as first,
        open_store(two, writer="b", create=True) as second,
    ):
        first.append(made_entries(1, 2))
        second.append(made_entries(1, 5))
        assert (first.head().seq, second.head().seq) == (2, 5)
        assert first.verify().ok and second.verify().ok
        refused("STO-005", open_store, one, writer="c")


def sample(server: PostgresServer, name: str) -> str:
    url = server.database(name)
    with open_store(url, writer="a", create=True) as store:
        for start in range(1, 2000, 100):
            store.append(made_entries(start, start + 99))
    return url


@pytest.mark.parametrize(
    ("sql", "first_bad", "words"),
    [
        ("UPDATE ledger_entries SET payload = '' WHERE seq = 7", 7, "the content of entry 7"),
        ("UPDATE ledger_entries SET hash = '' WHERE seq = 7", 7, "the hash of entry 7"),
        ("DELETE FROM ledger_entries WHERE seq BETWEEN 7 AND 9", 7, "entries 7 to 9 are missing"),
        ("DELETE FROM ledger_transfers WHERE line = 0", 1, "entry 1 "),
    ],
)
def test_an_edit_on_the_server_is_found(sql, first_bad, words, server) -> None:
    """The owner of the tables can switch the triggers off; the chain sees it."""
    import psycopg

    url = sample(server, "edited")
    with psycopg.connect(url) as connection:
        for table in ("ledger_entries", "ledger_transfers"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.execute(sql)
        connection.execute("ALTER TABLE ledger_transfers ENABLE TRIGGER USER")
    found = verify_store(url)
    assert not found.ok and found.first_bad == first_bad and words in found.what
    assert found.entries == first_bad - 1
    told = [p.what for p in found.problems]
    assert "trigger ledger_entries_no_change is switched off" in told
    assert "trigger ledger_transfers_no_change is switched off" not in told


def test_a_damaged_page_on_the_server_is_placed(server) -> None:
    """A page of the table of entries is garbled while the server is down."""
    import psycopg

    url = sample(server, "garbled")
    with psycopg.connect(url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT pg_relation_filepath('ledger_entries')").fetchone()
        connection.execute("CHECKPOINT")
    server.stop()
    path = server.data / name
    raw = bytearray(path.read_bytes())
    assert len(raw) > 20 * 8192
    raw[10 * 8192 + 4000] ^= 4
    path.write_bytes(raw)
    server.start()
    found = verify_store(url)
    assert not found.ok and found.first_bad is not None and found.entries == found.first_bad - 1
    assert 100 < found.entries < 1900 and "cannot be read" in found.what
    with open_store(url) as store:
        good = [content(r) for r in store.read(1, found.entries)]
    assert good == [wanted(i) for i in range(1, found.entries + 1)]


# ------------------------------------------------------------------------------ revisions


def test_migrations_make_the_tables_of_the_schema(tmp_path) -> None:
    import sqlalchemy as sa
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    create_store(tmp_path / "l")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/l")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
    engine.dispose()


def test_an_older_ledger_is_upgraded_by_a_writer_only(place, monkeypatch) -> None:
    from crossmargin.accounts.store import _postgres, _sqlite

    old = lambda *arguments: migrate.upgrade(*arguments, revision="0001")
    for module in (_postgres, _sqlite):
        monkeypatch.setattr(module, "upgrade", old)
        monkeypatch.setattr(module, "check_revision", lambda *_, **__: False)
    with open_store(place, writer="old", create=True) as store:
        store.append(made_entries(1, 5))
    monkeypatch.undo()
    told = str(refused("STO-004", open_store, place))
    assert "0001" in told and REVISION in told
    with open_store(place, writer="new") as store:
        store.snapshot_put("state", 5, b"data")
        assert [content(r) for r in store.read()] == [wanted(i) for i in range(1, 6)]
    assert verify_store(place).ok
    with open_store(place) as store:
        assert store.snapshot_get("state") == (5, b"data")


def test_a_newer_ledger_is_left_alone(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        store.append(made_entries(1, 2))
    statement(place, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for writer in (None, "a"):
        told = str(refused("STO-003", open_store, place, writer=writer))
        assert "9999" in told and "newer" in told
    statement(place, f"UPDATE {VERSION_TABLE} SET version_num = 'garbage'")
    refused("STO-012", open_store, place)


# ------------------------------------------------------------------------------ the rest


def test_snapshots_are_a_cache(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        store.append(made_entries(1, 5))
        assert store.snapshot_get("state") is None
        store.snapshot_put("state", 3, b"three")
        assert store.snapshot_get("state") == (3, b"three")
        assert store.snapshot_get("state", 2) is None
        store.snapshot_put("state", 5, b"five")
        assert store.snapshot_get("state") == (5, b"five")
        refused("STO-007", store.snapshot_put, "state", 6, b"")
    statement(place, "UPDATE ledger_snapshots SET seq = 4")
    with open_store(place) as store:
        assert store.snapshot_get("state") is None  # its digest says after which entry it was
        assert store.verify().ok


def test_a_store_does_not_cross_a_fork(tmp_path) -> None:
    with open_store(tmp_path / "l", writer="a", create=True) as store:
        store._pid += 1
        assert "forked" in str(refused("STO-006", store.head))
        store._pid -= 1


def test_export_is_whole_or_not_there(place, tmp_path, monkeypatch) -> None:
    import polars as pl

    from crossmargin.accounts.store import _parquet

    monkeypatch.setattr(_parquet, "_PART", 7)
    out = tmp_path / "out"
    with open_store(place, writer="a", create=True) as store:
        assert store.export_parquet(tmp_path / "empty") == (0, 0)
        store.append(made_entries(1, 20))
        assert store.export_parquet(out) == (
            20, sum(len(made_entry(i).transfers) for i in range(1, 21)),
        )  # fmt: skip
        records = list(store.read())
    entries = pl.read_parquet(out / "entries" / "*.parquet")
    moved = pl.read_parquet(out / "transfers" / "*.parquet")
    assert entries["hash"].to_list() == [r.hash.hex() for r in records]
    assert entries["payload"].to_list() == [r.payload for r in records]
    rows = [(r.seq, n, *t) for r in records for n, t in enumerate(r.transfers)]
    assert [(*r[:5], int(r[5]), r[6]) for r in moved.iter_rows()] == rows
    assert pl.read_parquet(tmp_path / "empty" / "entries" / "*.parquet").columns == entries.columns
    with open_store(place) as store:
        refused("STO-015", store.export_parquet, out)
        refused("STO-015", store.export_parquet, tmp_path / "no" / "such")
        (tmp_path / "file").write_text("x")
        refused("STO-015", store.export_parquet, tmp_path / "file")
        broken = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        monkeypatch.setattr(_parquet, "_transfers_frame", broken)
        assert "no space" in str(refused("STO-015", store.export_parquet, tmp_path / "new"))
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("ledger")) == [
        "empty", "file", "out",
    ]  # fmt: skip


def test_a_head_is_read_as_it_is_written() -> None:
    head = Head(12, bytes(range(32)))
    assert parse_head(str(head)) == head
    for text in ("", "12", "12:00", "x:" + "0" * 64, "-1:" + "0" * 64):
        refused("STO-007", parse_head, text)


def test_names_load_no_database() -> None:
    code = (
        "import sys, crossmargin.accounts.store; "
        "heavy = {'sqlite3', 'sqlalchemy', 'alembic', 'psycopg'}; "
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_verify_holds_a_head_that_was_written_down(place) -> None:
    with open_store(place, writer="a", create=True) as store:
        done = store.append(made_entries(1, 9))
        assert store.verify(expect=Head(4, done[3].hash)).ok
        seen: list[tuple[int, int]] = []
        assert store.verify(lambda *x: seen.append(x)).ok and seen == [(9, 9)]
        other = store.verify(expect=Head(4, done[4].hash))
        assert (other.ok, other.first_bad) == (False, 4)
        longer = store.verify(expect=Head(11, done[4].hash))
        assert not longer.ok and longer.what.startswith("entries 10 to 11 of the end are missing")
