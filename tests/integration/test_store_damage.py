"""Damage is told, never a traceback, never a wrong "ok": edits, bit flips, truncation, full disk.

Flips and truncations are drawn with a fixed seed; ``CROSSMARGIN_FLIPS`` sets how many of each
(120 unless told).
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.ledger_entries import content, made_entries, made_entry, wanted

from crossmargin.accounts.store import Verification, open_store, verify_store
from crossmargin.errors import StoreError

FLIPS = int(os.environ.get("CROSSMARGIN_FLIPS", "120"))
ENTRIES = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A ledger that was closed in order: one file, its witness, its lock."""
    path = tmp_path_factory.mktemp("whole") / "ledger"
    with open_store(path, writer="a", create=True) as store:
        for start in range(1, ENTRIES, 10):
            store.append(made_entries(start, start + 9))
        store.snapshot_put("state", 30, b"state" * 500)
    return path


@pytest.fixture(scope="module")
def crashed(tmp_path_factory) -> Path:
    """A ledger whose writer was killed: half of the log is only in the write-ahead log."""
    path = tmp_path_factory.mktemp("crashed") / "ledger"
    with open_store(path, writer="a", create=True) as store:
        store.append(made_entries(1, 30))
    code = f"""
        import os
        from crossmargin.accounts.store import open_store
        from tests.ledger_entries import made_entries
        store = open_store({str(path)!r}, writer="a")
        for start in range(31, 60, 10):
            store.append(made_entries(start, start + 9))
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, env=_paths())
    assert Path(f"{path}-wal").stat().st_size > 0
    return path


def _paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def copy(path: Path, folder: Path) -> Path:
    """Copy a ledger with what lies beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(path.parent, folder)
    return folder / path.name


def honest(path: Path, found: Verification) -> None:
    """Hold a verification to what is really in the log."""
    assert found.what and "\n" not in found.what
    if found.ok:
        with open_store(path) as store:
            assert [content(r) for r in store.read()] == [wanted(i) for i in range(1, ENTRIES + 1)]
        return
    assert found.problems
    if found.entries:  # what is said to be good is good
        with open_store(path) as store:
            good = [content(r) for r in store.read(1, found.entries)]
        assert good == [wanted(i) for i in range(1, found.entries + 1)]


def edit(path: Path, *statements: str) -> None:
    """Change a ledger as somebody would who knows how: the triggers away and back."""
    connection = sqlite3.connect(path)
    try:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()
    finally:
        connection.close()


#: Entry 7 of the sample and one with several transfers.
MANY = next(i for i in range(10, ENTRIES) if len(made_entry(i).transfers) >= 3)
MOVED = f"UPDATE ledger_transfers SET {{}} WHERE seq = {MANY} AND line = 1"


@pytest.mark.parametrize(
    ("statement", "first_bad", "field", "words"),
    [
        ("UPDATE ledger_entries SET payload = x'00' WHERE seq = 7", 7, "content", "event-7"),
        ("UPDATE ledger_entries SET id = 'event-x' WHERE seq = 7", 7, "content", "event-x"),
        ("UPDATE ledger_entries SET time_ns = 5 WHERE seq = 7", 7, "content", "entry 7"),
        ("UPDATE ledger_entries SET kind = 'fee' WHERE seq = 7", 7, "content", "entry 7"),
        ("UPDATE ledger_entries SET kind = 7.5 WHERE seq = 7", 7, "content", "entry 7"),
        ("UPDATE ledger_entries SET kind = x'00' WHERE seq = 7", 7, "kind", "the kind of entry 7"),
        ("UPDATE ledger_entries SET time_ns = 'x' WHERE seq = 7", 7, "time_ns", "the time_ns"),
        ("UPDATE ledger_entries SET payload = 'x' WHERE seq = 7", 7, "payload", "the payload"),
        ("UPDATE ledger_entries SET hash = zeroblob(32) WHERE seq = 7", 7, "hash", "the hash of"),
        ("UPDATE ledger_entries SET hash = x'00' WHERE seq = 7", 7, "hash", "entry 7"),
        ("UPDATE ledger_entries SET transfers = 77 WHERE seq = 7", 7, "transfers", "wrong number"),
        ("UPDATE ledger_entries SET kind = 'x' WHERE seq = 60", 60, "chain", "entry 60"),
        ("DELETE FROM ledger_entries WHERE seq = 7", 7, "missing", "entry 7 is missing"),
        ("DELETE FROM ledger_entries WHERE seq < 4", 1, "missing", "entries 1 to 3 are missing"),
        ("DELETE FROM ledger_entries WHERE seq > 57", 58, "tail", "entries 58 to 60 of the end"),
        ("DELETE FROM ledger_entries", 1, "tail", "entries 1 to 60 of the end"),
        (MOVED.format("amount = '5'"), MANY, "content", f"entry {MANY}"),
        (MOVED.format("debit = 'thief'"), MANY, "content", f"entry {MANY}"),
        (MOVED.format("line = 9"), MANY, "transfers", "not numbered"),
        (f"DELETE FROM ledger_transfers WHERE seq = {MANY} AND line = 1", MANY, "transfers",
         f"has {len(made_entry(MANY).transfers) - 1} of {len(made_entry(MANY).transfers)}"),
        ("INSERT INTO ledger_transfers VALUES (900, 0, 'a', 'b', 'c', '1', 'd')", None,
         "transfers", "1 transfers belong to no entry"),
        ("INSERT INTO ledger_entries VALUES (0, 'x', 1, 'k', x'', 0, x'')", None, "seq",
         "before the first"),
        ("INSERT INTO ledger_entries VALUES (61, 'x', 1, 'k', x'', 0, x'')", 61, "hash", "61"),
    ],
)  # fmt: skip
def test_an_edit_is_found_and_placed(statement, first_bad, field, words, whole, tmp_path) -> None:
    path = copy(whole, tmp_path / "copy")
    edit(path, statement)
    found = verify_store(path)
    assert not found.ok and found.first_bad == first_bad, found
    assert found.problems[0].field == field and words in found.what, found
    assert found.entries == (ENTRIES if first_bad is None else first_bad - 1)
    honest(path, found)
    if first_bad is not None and field != "tail":
        with open_store(path) as store, pytest.raises(StoreError) as caught:
            list(store.read())
        assert caught.value.code == "STO-012"


def flipped(text: str, place: int) -> str:
    return text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]


def test_one_flipped_bit_is_placed_to_its_field(whole, tmp_path) -> None:
    """Any bit of any field; also of the last entry, which nothing after it vouches for."""
    entry = made_entry(MANY)
    moved = entry.transfers[1]
    other = (entry.payload[:-1] + bytes([entry.payload[-1] ^ 8])).hex()
    where = f"UPDATE ledger_transfers SET {{}} = '{{}}' WHERE seq = {MANY} AND line = 1"
    for statement, seq, field in (
        (f"UPDATE ledger_entries SET kind = 'fhll' WHERE seq = {MANY}", MANY, "kind"),
        ("UPDATE ledger_entries SET kind = 'fhll' WHERE seq = 60", 60, "kind"),
        (f"UPDATE ledger_entries SET id = '{flipped(entry.id, 3)}' WHERE seq = {MANY}", MANY, "id"),
        (f"UPDATE ledger_entries SET time_ns = {entry.time_ns ^ 2**40} WHERE seq = {MANY}", MANY,
         "time_ns"),
        (f"UPDATE ledger_entries SET payload = x'{other}' WHERE seq = {MANY}", MANY, "payload"),
        *((where.format(name, flipped(value, 0)), MANY, f"transfers[1].{name}") for name, value in (
            ("debit", moved.debit), ("credit", moved.credit), ("asset", moved.asset),
            ("amount", str(moved.amount)), ("code", moved.code),
        )),
    ):  # fmt: skip
        path = copy(whole, tmp_path / "copy")
        edit(path, statement)
        found = verify_store(path)
        assert (found.first_bad, found.problems[0].field) == (seq, field), found.problems
        assert found.what.startswith(f"one bit of the {field} of entry {seq} ")


def test_a_number_far_beyond_the_end_is_not_walked_to(whole, tmp_path) -> None:
    path = copy(whole, tmp_path / "copy")
    edit(path, f"UPDATE ledger_entries SET seq = {2**60} WHERE seq = 33")
    found = verify_store(path)
    assert found.first_bad == 33 and found.entries == 32
    assert [p.what for p in found.problems][:2] == [
        "entry 33 is missing",
        f"entries 61 to {2**60 - 1} are missing",
    ]
    with open_store(path) as store, pytest.raises(StoreError) as caught:
        list(store.read())
    assert caught.value.code == "STO-012"


def test_faults_are_told_apart_and_what_follows_is_good(whole, tmp_path) -> None:
    path = copy(whole, tmp_path / "copy")
    edit(
        path,
        "UPDATE ledger_entries SET kind = 'x' WHERE seq IN (5, 20)",
        "DELETE FROM ledger_entries WHERE seq BETWEEN 30 AND 32",
    )
    found = verify_store(path)
    assert [(p.seq, p.field) for p in found.problems] == [
        (5, "content"), (20, "content"), (30, "missing"),
        *[(None, p.field) for p in found.problems[3:]],
    ]  # fmt: skip
    assert found.entries == 4 and found.head.seq == 4


def test_a_rewritten_chain_is_found_by_its_witness_or_a_noted_head(whole, tmp_path) -> None:
    """Who can write the file can make a chain of his own; a head noted elsewhere tells."""
    with open_store(whole) as store:
        head = store.head()
    path = tmp_path / "ledger"
    with open_store(path, writer="forger", create=True) as store:
        store.append([*made_entries(1, 10), *made_entries(12, ENTRIES), made_entry(99)])
    assert verify_store(path).ok  # a good log by itself
    found = verify_store(path, expect=head)
    assert not found.ok and found.first_bad == ENTRIES
    shutil.copy(f"{whole}.head", f"{path}.head")
    assert verify_store(path).first_bad == ENTRIES
    with pytest.raises(StoreError) as caught:
        open_store(path, writer="a")
    assert caught.value.code == "STO-012"


def test_a_witness_that_is_gone_or_garbled_is_said(whole, tmp_path) -> None:
    path = copy(whole, tmp_path / "copy")
    Path(f"{path}.head").write_bytes(b"\xff\xfe garbage")
    found = verify_store(path)
    assert found.ok and "not readable" in found.notes[0]
    Path(f"{path}.head").unlink()
    found = verify_store(path)
    assert found.ok and "no witness" in found.notes[0]
    assert not verify_store(path, expect=found.head).notes
    with open_store(path, writer="a") as store:
        store.append([made_entry(61)])
    assert Path(f"{path}.head").read_text().startswith(f"{61:020d} ")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER ledger_entries_no_update",
        "CREATE TRIGGER extra AFTER INSERT ON ledger_entries BEGIN SELECT 1; END",
        "ALTER TABLE ledger_entries ADD COLUMN note TEXT",
        "DROP TABLE ledger_snapshots",
    ],
)
def test_tables_and_triggers_that_are_not_ours_are_told(statement, whole, tmp_path) -> None:
    path = copy(whole, tmp_path / "copy")
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    found = verify_store(path)
    assert not found.ok and found.problems[0].field == "schema" and found.first_bad is None
    assert found.entries == ENTRIES


def test_an_index_that_lost_a_row_is_found(whole, tmp_path) -> None:
    """With a damaged index of ids a duplicate would not be seen: SQLite's check finds it."""
    path = copy(whole, tmp_path / "copy")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_ledger_entries_1'"
    ).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    raw = bytearray(path.read_bytes())
    place = raw.index(b"event-44", (page - 1) * size)
    raw[place : place + 8] = b"event-4X"
    path.write_bytes(raw)
    found = verify_store(path)
    assert not found.ok and found.problems[0].field == "pages" and found.entries == ENTRIES


def test_flipped_bits_in_the_file(whole, tmp_path) -> None:
    rng = random.Random(1)
    raw = whole.read_bytes()
    bad = 0
    for _ in range(FLIPS):
        path = copy(whole, tmp_path / "copy")
        changed = bytearray(raw)
        changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        found = verify_store(path)
        honest(path, found)
        bad += not found.ok
    assert bad > FLIPS // 4  # the rest lay in room that is not used


def test_flipped_bits_in_the_first_page(whole, tmp_path) -> None:
    """The first page says where everything is."""
    rng = random.Random(2)
    raw = whole.read_bytes()
    for _ in range(FLIPS):
        path = copy(whole, tmp_path / "copy")
        changed = bytearray(raw)
        changed[rng.randrange(4096)] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found = verify_store(path)
        except StoreError as error:
            # Not even the name of a table is left, or the revision is another one.
            assert error.code in ("STO-001", "STO-003"), error
            continue
        honest(path, found)


def test_truncated_files(whole, tmp_path) -> None:
    rng = random.Random(3)
    raw = whole.read_bytes()
    for size in [0, 1, 99, 100, 4096, len(raw) - 1, *(rng.randrange(len(raw)) for _ in range(30))]:
        path = copy(whole, tmp_path / "copy")
        path.write_bytes(raw[:size])
        try:
            found = verify_store(path)
        except StoreError as error:
            assert error.code == "STO-001" and size == 0, error
            continue
        assert not found.ok, size
        honest(path, found)


def test_a_damaged_write_ahead_log_is_not_silently_shorter(crashed, tmp_path) -> None:
    """SQLite drops the end of a damaged log without a word; the witness knows better."""
    path = copy(crashed, tmp_path / "copy")
    assert verify_store(path).ok
    rng = random.Random(4)
    raw = Path(f"{crashed}-wal").read_bytes()
    told = 0
    for turn in range(FLIPS):
        path = copy(crashed, tmp_path / "copy")
        if turn % 3 == 0:
            changed = raw[: rng.randrange(len(raw))]
        else:
            changed = bytearray(raw)
            changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        Path(f"{path}-wal").write_bytes(changed)
        Path(f"{path}-shm").unlink(missing_ok=True)
        found = verify_store(path)
        honest(path, found)
        if not found.ok:
            told += 1
            with pytest.raises(StoreError) as caught:
                open_store(path, writer="a")
            assert caught.value.code == "STO-012"
    assert told > FLIPS // 2


# ------------------------------------------------------------------------------ disk and rights


def test_a_full_disk_stores_nothing_and_says_so(tmp_path) -> None:
    """SQLite's own bound on the file first; then the operating system's on its size."""
    path = tmp_path / "ledger"
    with open_store(path, writer="a", create=True) as store:
        store.append(made_entries(1, 5))
        db = store._backend._db
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError) as caught:
            store.append(made_entries(6, 2000))
        assert caught.value.code == "STO-009" and "full" in str(caught.value)
        assert store.head().seq == 5 and store.verify().ok
        db.execute("PRAGMA max_page_count = 100000")  # room was made
        assert store.append(made_entries(6, 2000))[-1].seq == 2000
    assert verify_store(path).ok


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up(tmp_path) -> None:
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(mount)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        path = mount / "ledger"
        last = 0
        with open_store(path, writer="a", create=True) as store:
            with pytest.raises(StoreError) as caught:
                for start in range(1, 5000, 20):
                    last = store.append(made_entries(start, start + 19))[-1].seq
            assert caught.value.code == "STO-009", caught.value
            with pytest.raises(StoreError):
                store.append(made_entries(last + 1, last + 2000))
        found = verify_store(path)
        assert found.ok and found.entries == last and last > 20
        with pytest.raises(StoreError) as caught, open_store(path) as store:
            store.export_parquet(mount / "out")
        assert caught.value.code == "STO-015"
        assert sorted(p.name for p in mount.iterdir() if "out" in p.name) == []
        subprocess.run(["mount", "-o", "remount,size=8m", str(mount)], check=True)
        with open_store(path, writer="a") as store:
            assert store.append(made_entries(last + 1, last + 20))[0].seq == last + 1
        assert verify_store(path).ok
        fill = mount / "fill"
        with pytest.raises(OSError), open(fill, "wb") as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(StoreError) as caught:
            open_store(mount / "another", writer="a", create=True)
        assert caught.value.code == "STO-009", caught.value
        assert not [
            p.name for p in mount.iterdir() if "another" in p.name and ".lock" not in p.name
        ]
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def in_a_child(work) -> str:
    """Run in a process of its own that may be changed for good; return what it says."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = ""
        try:
            os.close(reading)
            said = work() or "done"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_a_file_that_may_not_grow(tmp_path) -> None:
    """The operating system refuses in the middle of a commit."""
    path = tmp_path / "ledger"
    with open_store(path, writer="a", create=True) as store:
        store.append(made_entries(1, 5))

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        acknowledged, said = 5, ""
        with open_store(path, writer="b") as store:
            try:
                for i in range(6, 1000):
                    acknowledged = store.append([made_entry(i)])[0].seq
            except StoreError as error:
                said = error.code
        return f"{said} {acknowledged}"

    code, _, acknowledged = in_a_child(work).partition(" ")
    assert code in ("STO-009", "STO-011"), (code, acknowledged)
    found = verify_store(path)
    assert found.ok and found.entries >= int(acknowledged) > 5
    with open_store(path, writer="c") as store:
        again = store.append(made_entries(1, 40))
        assert [a.seq for a in again] == list(range(1, 41))
        assert [a.duplicate for a in again] == [a.seq <= found.entries for a in again]


def test_a_folder_that_may_not_be_written(tmp_path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    path = folder / "ledger"
    with open_store(path, writer="a", create=True) as store:
        store.append(made_entries(1, 5))
    before = sorted(p.name for p in folder.iterdir())
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path(parent.anchor):
            mode = parent.stat().st_mode & 0o777
            if mode & 0o005 != 0o005:
                parent.chmod(mode | 0o005)
    path.chmod(0o444)
    folder.chmod(0o555)

    def work() -> str:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        said = []
        for call in (
            lambda: open_store(path, writer="b"),
            lambda: open_store(folder / "new", writer="b", create=True),
            lambda: open_store(path).export_parquet(folder / "out"),
        ):
            try:
                call()
            except StoreError as error:
                said.append(error.code)
        with open_store(path) as store:
            said.append(f"{len(list(store.read()))} {store.verify().ok}")
        return " ".join(said)

    try:
        assert in_a_child(work) == "STO-010 STO-010 STO-015 5 True"
    finally:
        folder.chmod(0o755)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_another_program_that_holds_the_file(tmp_path, monkeypatch) -> None:
    from crossmargin.accounts.store import _sqlite_file

    monkeypatch.setattr(_sqlite_file, "BUSY_S", 0.1)
    path = tmp_path / "ledger"
    with open_store(path, writer="a", create=True) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        begin = time.monotonic()
        with pytest.raises(StoreError) as caught:
            store.append([made_entry(1)])
        assert caught.value.code == "STO-005" and time.monotonic() - begin < 3
        other.execute("ROLLBACK")
        other.close()
        assert store.append([made_entry(1)])[0].seq == 1
