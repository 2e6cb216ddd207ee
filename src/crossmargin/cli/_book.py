"""The ``book`` command: margin a large book, watch it under recorded prices, make one up."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import (
    AtOpt,
    JsonOpt,
    MarketOpt,
    ParamsOpt,
    SetOpt,
    _console,
    _moment,
    _print_json,
    app,
)
from crossmargin.cli._assigned import one_or_more
from crossmargin.errors import CrossmarginError, InputError

if TYPE_CHECKING:
    from crossmargin.book import CompactBook, CompactRead
    from crossmargin.margin import BookColumns, Ruleset
    from crossmargin.market import Snapshot

book_app = App(
    name="book",
    help="""Margin a book of many accounts, watch it under recorded prices, or make one up.

    Example: `crossmargin book generate --accounts 10000 --seed 1 --out mybook
    --market-out market.json`

    Example: `crossmargin book mybook --ruleset derive-pm2 --market market.json
    --out results.parquet`
    """,
)
app.command(book_app)

BookArg = Annotated[str, Parameter(help="Folder of a stored book (Parquet, or mapped columns).")]
RulesetOpt = Annotated[str, Parameter(help="Rule-set id, id@DATE for a version, or TOML file.")]
ThreadsOpt = Annotated[
    int | None, Parameter(help="Threads; default all cores. No value depends on it.")
]
OutOpt = Annotated[str | None, Parameter(help="Write the results here, as Parquet.")]
OverwriteOpt = Annotated[bool, Parameter(help="Replace a file that exists.", negative="")]
Engine = Literal["auto", "fused", "vectorised"]
EngineOpt = Annotated[
    Engine, Parameter(help="What computes: one pass (fused), or stage by stage (vectorised).")
]
TopOpt = Annotated[
    int | None, Parameter(help="Accounts in each list; default 100, of which 10 are printed.")
]
BookHtmlOpt = Annotated[str | None, io.file_option("Write a self-contained HTML page here.")]

#: Rows of a list that are printed where --top says nothing, and that are kept.
SHOWN, KEPT = 10, 100


@book_app.default
def book(
    folder: BookArg,
    *,
    market: MarketOpt = io.DEFAULT_MARKET,
    ruleset: RulesetOpt = io.DEFAULT_RULESET,
    at: AtOpt = None,
    set_: SetOpt = None,
    params: ParamsOpt = None,
    threads: ThreadsOpt = None,
    engine: EngineOpt = "auto",
    top: TopOpt = None,
    out: OutOpt = None,
    overwrite: OverwriteOpt = False,
    watch: Annotated[
        str | None,
        Parameter(help="Replay this recorded price file (Parquet, CSV) over the book."),
    ] = None,
    prices_as: Annotated[
        Literal["moves", "levels"],
        Parameter(help="Recorded prices move the market's prices, or are the prices."),
    ] = "moves",
    since: Annotated[str | None, Parameter(help="First moment of the recording.")] = None,
    until: Annotated[str | None, Parameter(help="Last moment of the recording.")] = None,
    cluster: Annotated[
        str | None,
        Parameter(help="Compute on this Ray cluster (host:port, auto; local starts one here)."),
    ] = None,
    workers: Annotated[int, Parameter(help="Workers of the cluster that share the book.")] = 2,
    speed: Annotated[
        float | None,
        Parameter(help="Replay at this multiple of real time; default as fast as it goes."),
    ] = None,
    json: JsonOpt = False,
    html: BookHtmlOpt = None,
) -> int:
    """Margin a book: accounts by state, totals, the worst accounts, concentration, failures.

    An account that cannot be computed gets a reason and the others go on; the exit code is 1 only
    where none can. With --watch, a recorded price file is replayed over the book, and --out and
    --json hold what happened at each tick.

    Example: `crossmargin book mybook --ruleset derive-pm2 --market market.json
    --out results.parquet --html book.html`

    Example: `crossmargin book mybook --ruleset deribit-pm --market market.json
    --watch prices.parquet --since 2026-02-05T00:00:00Z --speed 100`

    Example: `crossmargin book mybook --ruleset deribit-pm --market market.json
    --cluster auto --workers 8`
    """
    if cluster is not None and watch is not None:
        raise InputError(
            "a replay runs on one machine",
            code="INP-013",
            field="--cluster",
            hint="leave --cluster or --watch out",
        )
    if out is not None:
        from crossmargin.cli._results import check_place

        check_place(out, overwrite=overwrite)
    one_or_more(top, "--top")
    one_or_more(threads, "--threads")
    one_or_more(workers, "--workers")
    world, moment = io.load_market(market), _moment(at)
    world = world if moment is None else world.at(moment)
    rules = load_rules_on(ruleset, io.parse_overrides(set_ or [], params))
    warnings = change_warnings(ruleset, rules, world.moment_ns)
    if watch is not None:
        from crossmargin.cli._watch import run_watch

        read = load_book(folder)
        if read.rejected:
            code, count = next(iter(read.rejected.by_code().items()))
            warnings.append(
                f"{read.rejected.rows.size:,} accounts were set aside when the book was read and "
                f"are not watched, most of them ({count:,}) with {code}"
            )
        return run_watch(
            read.book,
            world,
            rules,
            recording=watch,
            prices_as=prices_as,
            since=since,
            until=until,
            speed=speed,
            threads=cores(threads),
            engine=engine,
            top=top or SHOWN,
            out=out,
            overwrite=overwrite,
            json=json,
            html=html,
            warnings=warnings,
        )
    for name, given in (("--since", since), ("--until", until), ("--speed", speed)):
        if given is not None:
            raise InputError(
                f"{name} belongs to a replay, and no --watch is given",
                code="INP-013",
                field=name,
                hint="add --watch PRICES, or leave it out",
            )
    read = load_book(folder)
    if cluster is not None:
        columns = margin_on_cluster(
            folder, read.book, world, rules, address=cluster, workers=workers,
            threads=threads or 1, engine=engine, quiet=json,
        )  # fmt: skip
    else:
        columns = margin_book(
            read.book, world, rules, threads=cores(threads), engine=engine, quiet=json
        )
    if columns is None:
        return 130
    return _report(read, columns, world, rules, market, warnings, top, out, overwrite, json, html)


def _report(
    read: CompactRead,
    columns: BookColumns,
    world: Snapshot,
    rules: Ruleset,
    market: str,
    warnings: list[str],
    top: int | None,
    out: str | None,
    overwrite: bool,
    json: bool,
    html: str | None,
) -> int:
    from crossmargin.analytics import summarise_book

    if out is not None:
        from crossmargin.cli._results import account_results, write_parquet

        write_parquet(
            account_results(read.book, columns, rules, read.rejected), out, overwrite=overwrite
        )
    summary = summarise_book(
        read.book,
        columns,
        rules,
        world,
        market=Path(market).name,
        top=top or KEPT,
        rejected=read.rejected,
        warnings=warnings,
    )
    if html is not None:
        from crossmargin import __version__
        from crossmargin.reports.book_html import render_book

        io.write_whole(html, render_book(summary, version=__version__).encode())
    code = 0 if summary.computed else 1
    if json:
        _print_json(summary)
        return code
    from crossmargin.reports.book import print_book

    console = _console()
    print_book(console, summary, shown=top or SHOWN)
    for what, path in (("results", out), ("report", html)):
        if path is not None:
            console.print(f"{what} written to {path}", markup=False)
    return code


def margin_book(
    held: CompactBook,
    world: Snapshot,
    rules: Ruleset,
    *,
    threads: int,
    engine: Engine,
    quiet: bool,
    what: str = "",
) -> BookColumns | None:
    """Margin a book with a bar; None when it was interrupted, which has been said."""
    from crossmargin.cli._progress import Meter
    from crossmargin.margin import evaluate_compact

    with Meter(f"accounts{what}", quiet=quiet) as meter:
        try:
            return evaluate_compact(
                held,
                world,
                rules,
                threads=threads,
                progress=meter.step,
                engine=engine_for(engine, held.size),
            )
        except KeyboardInterrupt:
            interrupted(meter.words)
            return None


def margin_on_cluster(
    folder: str,
    held: CompactBook,
    world: Snapshot,
    rules: Ruleset,
    *,
    address: str,
    workers: int,
    threads: int,
    engine: Engine,
    quiet: bool,
) -> BookColumns | None:
    """Margin a book on a Ray cluster; None when it was interrupted, which has been said."""
    from crossmargin.cli._progress import Meter
    from crossmargin.margin.cluster import ClusterBook

    with Meter("accounts", quiet=quiet) as meter:
        try:
            with ClusterBook(
                folder,
                address=None if address == "local" else address,
                workers=workers,
                threads=threads,
            ) as spread:
                return spread.evaluate(
                    world, rules, engine=engine_for(engine, held.size), progress=meter.step
                )
        except KeyboardInterrupt:
            interrupted(meter.words)
            return None


def interrupted(how_far: str) -> None:
    """Say how far an interrupted run came."""
    sys.stderr.write(f"\ninterrupted: {how_far}; nothing was written\n")


def load_book(path: str) -> CompactRead:
    """Read a stored book and the accounts set aside.

    Raises
    ------
    InputError
        ``INP-072`` when there is no account in it.
    """
    from crossmargin.book import read_compact

    if not Path(path).is_dir():
        raise InputError(
            f"there is no book {path!r}",
            code="INP-005",
            field="book",
            hint="a book is a folder; make one up with crossmargin book generate --out FOLDER",
        )
    read = read_compact(path)
    if not read.book.size and not read.rejected:
        raise InputError(f"the book {path!r} has no accounts", code="INP-072", field="accounts")
    return read


def load_rules_on(name: str, overrides: dict[str, Any]) -> Ruleset:
    """Load a rule-set; ``id@DATE`` is the version in force on a day."""
    from crossmargin.margin import load_ruleset

    plain, sign, day = name.partition("@")
    if not sign or name.endswith(".toml"):
        return load_ruleset(name, overrides=overrides)
    from crossmargin.units import parse_time

    parse_time(day, field="--ruleset")
    return load_ruleset(plain, overrides=overrides, on=day[:10])


def change_warnings(name: str, rules: Ruleset, at_ns: int) -> list[str]:
    """Say what is wrong with the recorded changes of a rule-set file.

    Temporary changes that are past their expiry and still in force are named, and a history that
    does not hold. The numbers are those of the file all the same.
    """
    if not name.endswith(".toml"):
        return []
    from crossmargin.margin import check_changes, expired_changes, read_changes
    from crossmargin.reports.ruleset_changes import expired_words

    said = []
    try:
        log = read_changes(name)
        said = [expired_words(*found) for found in expired_changes(rules, log, at_ns)]
        if not rules.overrides:
            check_changes(rules, log)
    except CrossmarginError as error:
        said.append(str(error))
    return said


#: Accounts times evaluations below which the fused kernel's start costs more than it saves.
_SMALL = 50_000


def engine_for(engine: Engine, accounts: int, evaluations: int = 1) -> Engine:
    """Return what computes a book: as asked, else stage by stage where the work is small.

    The fused kernel takes seconds to load into a new process, and then little an account. The two
    agree to the last bits of a sum.
    """
    small = accounts * evaluations < _SMALL
    return "vectorised" if engine == "auto" and small else engine


def cores(threads: int | None) -> int:
    """Return how many threads to use: as asked, else the cores that this process may use."""
    if threads is not None:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@book_app.command
def generate(
    *,
    accounts: Annotated[int, Parameter(help="How many.")] = 10_000,
    seed: Annotated[int, Parameter(help="The same seed gives the same bytes.")] = 0,
    out: Annotated[str, Parameter(help="Folder to write; it must not exist.")],
    market_out: Annotated[
        str | None, io.file_option("Write the market that prices the book here.")
    ] = None,
    underlying: Annotated[
        list[str] | None, Parameter(help="Coin that is traded; default all. Repeatable.")
    ] = None,
    instruments: Annotated[int, Parameter(help="About how many are listed.")] = 300,
    settled: Annotated[
        Literal["inverse", "linear", "mixed"],
        Parameter(help="What contracts settle in: the coin, a stablecoin, or both."),
    ] = "linear",
    mapped: Annotated[
        bool, Parameter(help="Write columns that are mapped, not read: opens at once.", negative="")
    ] = False,
    json: JsonOpt = False,
) -> None:
    """Make a realistic book up, and the market it is held in.

    Popularity of instruments follows a Zipf law, sizes a Pareto law and leverage a lognormal one;
    some accounts are hedged, some directional. Nothing in it is real.

    Example: `crossmargin book generate --accounts 10000 --seed 1 --out mybook
    --market-out market.json`
    """
    from crossmargin.book import generate_book, write_compact, write_compact_parquet
    from crossmargin.market import file_from_snapshot, generated_market, write_market

    if Path(out).exists():
        raise InputError(f"{out!r} exists already", code="INP-040", hint="choose another folder")
    registry, world = generated_market(
        seed=seed, venue_kind=settled, underlyings=underlying, instruments=instruments
    )
    made = generate_book(accounts, seed=seed, registry=registry, snapshot=world)
    (write_compact if mapped else write_compact_parquet)(made, out)
    if market_out is not None:
        io.write_whole(market_out, write_market(file_from_snapshot(world)))
    if json:
        _print_json(
            {
                "accounts": made.size,
                "positions": made.positions,
                "instruments": len(registry),
                "seed": seed,
                "book": out,
                "market": market_out,
            }
        )
        return
    print(
        f"book of {made.size:,} accounts and {made.positions:,} positions in "
        f"{made.instruments_used().size:,} instruments written to {out}"
    )
    if market_out is not None:
        print(f"market of {len(world.assets)} coins written to {market_out}")
        traded = {registry[int(k)].underlying for k in made.instruments_used()}
        coin_settled = settled != "linear" and traded <= {"BTC", "ETH"}
        fits = "deribit-pm" if coin_settled else "derive-pm2"
        print(f"next: crossmargin book {out} --ruleset {fits} --market {market_out}")
    else:
        print("its market was not written: repeat with --market-out to margin the book")
