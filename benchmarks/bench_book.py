"""Books at scale: made, written, read, mapped, put in order; what they take; what bad rows cost.

The clean book and the broken one are the same accounts in the same kind of files, written the same
way; a tenth of the broken one's accounts has a fault (a quantity that is missing or zero, a
contract nobody knows, a row twice), its accounts come in no order. Both are read and margined
alternately in one loop; a third one, with its rows in no order at all, is read beside them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.harness import (
    Measure,
    Scale,
    Series,
    Timing,
    interleaved,
    number,
    report,
    target,
)
from crossmargin.book import (
    CompactBook,
    compact_book,
    generate_book,
    read_compact,
    underlying_major,
    write_compact,
    write_compact_parquet,
)
from crossmargin.instruments import Registry
from crossmargin.margin import load_ruleset
from crossmargin.margin.at_scale import evaluate_compact
from crossmargin.market import Snapshot, generated_market

RULESET = "deribit-pm"
BROKEN = 0.1
Market = tuple[Registry, Snapshot]


def run(scale: Scale) -> list[Measure]:
    """Measure books of the scale's sizes."""
    market = generated_market(seed=1)
    sizes = [n for n in (10_000, 100_000, 1_000_000) if n <= scale.accounts] or [scale.accounts]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        times = {n: one_size(n, market, place, scale) for n in sizes}
        rows = growth(times)
        rows += memory(sizes[-1], market)
        rows += bad_rows(scale.at_most(100_000), place, scale)
    return rows


def one_size(n: int, market: Market, place: Path, scale: Scale) -> dict[str, Timing]:
    """Time everything that is done with a book of one size."""
    registry, snapshot = market
    book = generate_book(n, seed=1, registry=registry, snapshot=snapshot)
    for name, write in (("tables", write_compact_parquet), ("mapped", write_compact)):
        write(book, place / name, overwrite=True)
    part = book.accounts(0, min(n, 20_000))
    cases: dict[str, Callable[[], object]] = {
        "generate": lambda: generate_book(n, seed=1, registry=registry, snapshot=snapshot),
        "write Parquet": lambda: write_compact_parquet(book, place / "tables", overwrite=True),
        "write mapped": lambda: write_compact(book, place / "mapped", overwrite=True),
        "read Parquet": lambda: read_compact(place / "tables"),
        "open mapped": lambda: read_compact(place / "mapped"),
        "open mapped, registry known": lambda: read_compact(place / "mapped", registry),
        "open mapped, hashes compared": lambda: read_compact(place / "mapped", verify=True),
        "by underlying": lambda: underlying_major(book),
        "to Book, 20,000 accounts": lambda: book.accounts(0, part.size),
        "from Book, 20,000 accounts": lambda: compact_book(part),
    }
    return interleaved(cases, scale)


def growth(times: dict[int, dict[str, Timing]]) -> list[Measure]:
    """Return a row for each thing done: its time at the largest size, and how it grows."""
    sizes = sorted(times)
    rows = []
    for name, last in times[sizes[-1]].items():
        fixed = "20,000" in name
        xs = tuple(float(n) for n in sizes)
        ys = tuple(times[n][name].median for n in sizes)
        line = Series("Files of a book", name, "accounts × 10 positions", "seconds", xs, ys, 1.0)
        detail = "" if fixed else f"{sizes[-1]:,} accounts × 10; slope {number(line.slope)}"
        rows.append(
            report(
                f"book: {name}",
                last.median * 1e3,
                "ms",
                detail,
                low=last.low * 1e3,
                high=last.high * 1e3,
                series=() if fixed else (line,),
            )
        )
    return rows


def memory(n: int, market: Market) -> list[Measure]:
    """Bytes of an account in the narrow columns, and of its copy by underlying."""
    book = generate_book(n, seed=1, registry=market[0], snapshot=market[1])
    parts = {
        "positions": book.position_instrument.nbytes + book.position_quantity.nbytes,
        "entry prices": book.position_entry.nbytes,
        "balances": book.balance_asset.nbytes + book.balance_amount.nbytes,
        "row pointers": book.position_start.nbytes + book.balance_start.nbytes,
    }
    each = ", ".join(f"{name} {number(size / n)}" for name, size in parts.items())
    detail = (
        f"{n:,} accounts, {number(book.positions / n)} positions and "
        f"{number(book.balance_amount.size / n)} balances each; bytes: {each}"
    )
    major = underlying_major(book)
    held = major.segment_account.size / n
    return [
        report("memory of the columns", book.nbytes / n, "B/account", detail),
        report(
            "memory of the copy by underlying",
            major.nbytes / n,
            "B/account",
            f"{number(held)} underlyings an account",
        ),
    ]


def break_some(book: CompactBook, source: Path, broken: Path, mixed: Path) -> int:
    """Copy a written book twice and break a tenth of its accounts; return how many."""
    shutil.copytree(source, broken)
    rng = np.random.default_rng(1)
    frame = pl.read_parquet(broken / "positions.parquet")
    held = np.flatnonzero(np.diff(book.position_start))
    first = book.position_start[rng.permutation(held)[: round(BROKEN * book.size)]]
    nan, zero, unknown, twice = np.array_split(first, 4)
    quantity = frame["quantity"].to_numpy().copy()
    quantity[nan], quantity[zero] = np.nan, 0.0
    lost = np.zeros(len(frame), dtype=bool)
    lost[unknown] = True
    frame = frame.with_columns(
        quantity=pl.Series(quantity),
        instrument=pl.when(pl.Series(lost))
        .then(pl.lit("NOBODY-1"))
        .otherwise(pl.col("instrument").cast(pl.String))
        .cast(pl.Categorical),
    )
    frame = pl.concat([frame, frame[twice]])
    turn = rng.permutation(book.size)[frame["pool"].to_numpy()]
    frame[np.argsort(turn, kind="stable")].rechunk().write_parquet(broken / "positions.parquet")
    shutil.copytree(broken, mixed)
    frame[rng.permutation(len(frame))].rechunk().write_parquet(mixed / "positions.parquet")
    return int(first.size)


def bad_rows(n: int, place: Path, scale: Scale) -> list[Measure]:
    """Compare reading and margining a broken book with the same book in order."""
    registry, snapshot = generated_market(seed=1, underlyings=("BTC", "ETH"))
    book = generate_book(n, seed=1, registry=registry, snapshot=snapshot)
    clean, broken, mixed = place / "clean", place / "broken", place / "mixed"
    write_compact_parquet(book, clean)
    count = break_some(book, clean, broken, mixed)
    rules = load_ruleset(RULESET)
    read = interleaved(
        {
            "clean": lambda: read_compact(clean),
            "broken": lambda: read_compact(broken),
            "mixed": lambda: read_compact(mixed),
        },
        scale,
    )
    both = interleaved(
        {
            "clean": lambda: evaluate_compact(read_compact(clean).book, snapshot, rules),
            "broken": lambda: evaluate_compact(read_compact(broken).book, snapshot, rules),
        },
        scale,
    )
    found = len(read_compact(broken).rejected)
    if found != count:
        raise AssertionError(f"{found} accounts were set aside, {count} are broken")
    alone = read["broken"].over(read["clean"])
    mess = read["mixed"].over(read["clean"])
    whole = both["broken"].over(both["clean"])
    detail = (
        f"{n:,} accounts in no order, from Parquet to margin under {RULESET}, {count:,} set aside "
        f"with a reason; reading alone {number(alone.median)}×, with the rows of all accounts "
        f"mixed {number(mess.median)}× ({number(1e3 * read['clean'].median)} ms in order)"
    )
    return [
        target("bad-rows", whole.median, detail, low=whole.low, high=whole.high),
        report("book: reading with bad rows", alone.median, "x", low=alone.low, high=alone.high),
    ]
