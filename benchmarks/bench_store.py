"""The ledger's store: events stored durably a second, and how it grows with the log.

The rival is bare sqlite3, as the prototype of the journal was: one table of transfers, the same
pragmas, ``executemany``, one commit a batch, and nothing of a chain, of ids that may come twice, or
of the event itself. What the store does more costs the ratio. Every commit is synchronised to the
disk of the temporary folder, so figures of batch 1 are that disk's.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from benchmarks.harness import Measure, Scale, Series, Timing, interleaved, number, report, timed
from crossmargin.accounts.store import Entry, Store, TransferRow, open_store

#: Entries a commit, and entries of one timed case.
BATCHES = ((1, 100), (100, 4_000), (1_000, 8_000))
TRANSFERS = 2
GROWTH = {"tiny": (200, 400), "quick": (10_000, 100_000, 1_000_000),
          "full": (10_000, 100_000, 1_000_000, 10_000_000)}  # fmt: skip
BUILT_AT_ONCE = 10_000


def entry(i: int) -> Entry:
    """Return fill number `i`: 130 bytes of event, two transfers over 1,000 accounts."""
    buyer, seller = f"acct-{i % 1_000:04d}/main/wallet", f"acct-{i * 7 % 997:04d}/main/cost"
    payload = (
        f'{{"type":"fill","id":"fill-{i:012d}","account":"{buyer}","price":"78000.5","size":"0.01"}}'
    ).encode()
    moved = (
        TransferRow(buyer, "sys:clearing", "USD", 780_005_000 + i, "fill"),
        TransferRow("sys:clearing", seller, "USD", 780_005_000 + i, "fill"),
    )
    return Entry(f"fill-{i:012d}", 1_770_000_000_000_000_000 + i, "fill", payload, moved)


class Appending:
    """Appends a number of new entries to a store, a commit a batch, each time it is called."""

    def __init__(self, store: Store, batch: int, count: int) -> None:
        self._store, self._batch, self._count, self._next = store, batch, count, 1
        self._made: list[Entry] = []

    def prepare(self) -> None:
        """Make the entries of the next call: their making is not what is measured."""
        self._made = [entry(i) for i in range(self._next, self._next + self._count)]
        self._next += self._count

    def __call__(self) -> None:
        made, batch = self._made, self._batch
        for start in range(0, len(made), batch):
            self._store.append(made[start : start + batch])


class Bare:
    """Inserts the same transfers into a table of a bare SQLite file."""

    def __init__(self, path: Path, batch: int, count: int) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA wal_autocheckpoint=4000")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS transfers (seq INTEGER PRIMARY KEY, debit TEXT, "
            "credit TEXT, asset TEXT, amount INTEGER, code TEXT)"
        )
        self._batch, self._count, self._next = batch, count, 1
        self._rows: list[tuple[object, ...]] = []

    def prepare(self) -> None:
        """Make the rows of the next call."""
        made = [t for i in range(self._next, self._next + self._count) for t in entry(i).transfers]
        first = self._next * TRANSFERS
        self._rows = [(first + n, *t) for n, t in enumerate(made)]
        self._next += self._count

    def __call__(self) -> None:
        step = self._batch * TRANSFERS
        for start in range(0, len(self._rows), step):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO transfers VALUES (?, ?, ?, ?, ?, ?)", self._rows[start : start + step]
            )
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def run(scale: Scale) -> list[Measure]:
    """Measure appending and growth."""
    with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
        rows = [
            *(appending(scale, Path(folder), batch, count) for batch, count in BATCHES),
            postgres(scale),
        ]
        return rows + growth(scale, Path(folder))


def appending(scale: Scale, folder: Path, batch: int, count: int) -> Measure:
    """Events a second at one size of batch, with the bare table in the same rounds."""
    count = max(batch, count // 20) if scale.name == "tiny" else count
    bare = Bare(folder / f"bare-{batch}", batch, count)
    with open_store(folder / f"store-{batch}", writer="bench", create=True) as store:
        times = prepared({"store": Appending(store, batch, count), "bare": bare}, scale)
    bare.close()
    ours, theirs = times["store"], times["bare"]
    slower = ours.over(theirs)
    return replace(
        report(
            f"ledger, SQLite: events stored durably, {batch:,} a commit",
            count / ours.median,
            "/s",
            f"{TRANSFERS} transfers an event: {number(count * TRANSFERS / ours.median)} "
            f"transfers/s; bare sqlite3 stores the same transfers (no events, ids, chain) at "
            f"{number(count * TRANSFERS / theirs.median)}/s: {slower} times the time",
            low=count / ours.high,
            high=count / ours.low,
            better="higher",
        ),
        steady=ours.steady,
    )


class Prepared(Protocol):
    """A case whose next call is prepared outside the timing."""

    def prepare(self) -> None: ...

    def __call__(self) -> None: ...


def prepared(cases: Mapping[str, Prepared], scale: Scale) -> dict[str, Timing]:
    """Time cases alternately, as `interleaved` does, without what prepares them."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}

    def noted(name: str) -> Callable[[], None]:
        def call() -> None:
            cases[name].prepare()
            begin = time.perf_counter()
            cases[name]()
            seconds[name].append(time.perf_counter() - begin)

        return call

    interleaved({name: noted(name) for name in cases}, scale)
    return {name: Timing(tuple(took[1:])) for name, took in seconds.items()}  # without the warm-up


def postgres(scale: Scale) -> Measure:
    """Events a second on a PostgreSQL server that is started for it."""
    name, batch = "ledger, PostgreSQL: events stored durably, 100 a commit", 100
    count = 200 if scale.name == "tiny" else 4_000
    try:
        with server() as url, open_store(url, writer="bench", create=True) as store:
            took = prepared({"": Appending(store, batch, count)}, scale)[""]
    except Exception as error:
        return report(name, None, "/s", f"no server here: {type(error).__name__}")
    return report(
        name, count / took.median, "/s",
        f"private server, Unix socket, fsync on: {number(count * TRANSFERS / took.median)} "
        "transfers/s",
        low=count / took.high, high=count / took.low, better="higher",
    )  # fmt: skip


@contextmanager
def server() -> Iterator[str]:
    """Start a server for as long as the block lasts."""
    from tests.postgres import PostgresServer

    folder = Path(tempfile.mkdtemp(prefix="cm-pg-"))
    folder.chmod(0o755)
    made = None
    try:
        made = PostgresServer(folder)
        yield made.database("bench")
    finally:
        if made is not None:
            made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def growth(scale: Scale, folder: Path) -> list[Measure]:
    """Open, verify and read a log as it grows."""
    path = folder / "grown"
    once = replace(scale, repeats=3 if scale.name != "full" else 2, budget_s=1.0)
    sizes: list[float] = []
    taken: dict[str, list[float]] = {"open": [], "verify": [], "read": [], "read the last 100": []}
    bytes_each = 0.0
    for size in GROWTH[scale.name]:
        grow(path, size)
        sizes.append(float(size))
        bytes_each = path.stat().st_size / size
        cases: dict[str, Callable[[], object]] = {
            "open": lambda: open_store(path, writer="bench").close(),
            "read the last 100": lambda size=size: read(path, size - 99),
        }
        for name, case in cases.items():
            taken[name].append(timed(case, once).low)
        single = replace(once, repeats=1)
        taken["verify"].append(timed(lambda: verify(path), single).low)
        taken["read"].append(timed(lambda: read(path, 1), single).low)
    return [line(name, tuple(sizes), tuple(seconds), bytes_each) for name, seconds in taken.items()]


def grow(path: Path, size: int) -> None:
    """Append until the log has so many entries."""
    with open_store(path, writer="bench", create=True) as store:
        for start in range(store.head().seq + 1, size + 1, BUILT_AT_ONCE):
            end = min(start + BUILT_AT_ONCE - 1, size)
            store.append(entry(i) for i in range(start, end + 1))


def read(path: Path, first: int) -> int:
    """Read entries, held to the chain; return how many."""
    with open_store(path) as store:
        return sum(1 for _ in store.read(first))


def verify(path: Path) -> None:
    """Verify everything, SQLite's own check of its pages included."""
    with open_store(path) as store:
        found = store.verify()
    if not found.ok:
        raise AssertionError(found.what)


def line(
    what: str, sizes: tuple[float, ...], seconds: tuple[float, ...], bytes_each: float
) -> Measure:
    """One line of growth, and its slope."""
    whole = what in ("verify", "read")
    series = Series(
        "Ledger: time against entries", what, "entries of the log", "seconds", sizes, seconds,
        1.0 if whole else 0.0,
    )  # fmt: skip
    last = f"{number(1e6 * seconds[-1] / sizes[-1])} µs an entry" if whole else "a fixed piece"
    return report(
        f"growth of the ledger's time to {what}: slope",
        series.slope,
        "",
        f"{sizes[0]:,.0f} to {sizes[-1]:,.0f} entries of {TRANSFERS} transfers; at the end "
        f"{number(seconds[-1])} s, {last}; {number(bytes_each)} B on the disk an entry",
        series=(series,),
    )
