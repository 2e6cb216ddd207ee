"""``cascade interest``: open interest and leverage dynamics, from records, accounts or a book."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from crossmargin.cli import _io as io
from crossmargin.cli._app import JsonOpt, _moment, _print_json
from crossmargin.cli._assigned import above_zero, one_or_more
from crossmargin.cli._cascade import cascade_app
from crossmargin.cli._cascade_gain import (
    DepthOpt,
    TopOpt,
    _figures,
    _is_book,
    _move,
    plain,
)
from crossmargin.cli._plans import HtmlOpt, show
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossmargin.book import CompactBook
    from crossmargin.cascade.interest_file import InterestSteps
    from crossmargin.cascade.interest_history import InterestMoment
    from crossmargin.cascade.open_interest import InterestBreakdown
    from crossmargin.market import Snapshot
    from crossmargin.reports.plans import PlanReport

#: A depth so large that nothing is fragile against it; shown as none.
NO_DEPTH = 1e300
_MOVES = (-0.2, -0.1, 0.1, 0.2)

ColumnOpt = Annotated[
    list[str] | None,
    Parameter(
        help="A table's own name of contract, open_interest, price or time: "
        "contract=instrument_name. Repeatable."
    ),
]


@cascade_app.command
def interest(
    source: Annotated[
        str, Parameter(help="A table (Parquet, CSV), a folder of recorded accounts, or of a book.")
    ],
    *,
    at: Annotated[
        str | None,
        Parameter(help="Moment: of a table the last up to it, of accounts the first from it on."),
    ] = None,
    column: ColumnOpt = None,
    unit: Annotated[str, Parameter(help="Unit of a table's open interest.")] = "coins",
    least: Annotated[float, Parameter(help="Relative changes up to this are none.")] = 0.001,
    history: Annotated[
        bool, Parameter(help="Of recorded accounts: every snapshot up to --at.", negative="")
    ] = False,
    depth: DepthOpt = None,
    move: Annotated[
        list[str] | None,
        Parameter(
            help="Move of all assets: -0.1. Repeatable.", allow_leading_hyphen=True, negative=()
        ),
    ] = None,
    capital: Annotated[float | None, Parameter(help="Settlement capital, US dollars.")] = None,
    limit: Annotated[float, Parameter(help="Open interest over D that is called fragile.")] = 1.0,
    market: Annotated[str | None, Parameter(help="Of a stored book: the market.")] = None,
    ruleset: Annotated[str, Parameter(help="Rule-set of accounts or book.")] = "hyperliquid",
    threads: Annotated[int | None, Parameter(help="Of a stored book; default all cores.")] = None,
    top: TopOpt = 10,
    html: HtmlOpt = None,
    json: JsonOpt = False,
) -> None:
    """Take open interest apart: who holds it, how levered, what would absorb it, where it moves.

    A table of open interest is split by contract, expiry and strike, and its steps read by price
    against open interest. Accounts (recorded ones, or a stored book) give longs and shorts by
    contract, leverage now and after a move, concentration, overlap, open interest over depth and
    capital in both directions, and a systemic score with its parts.

    Example: `crossmargin cascade interest chain.parquet --column contract=instrument_name
    --column price=underlying --column time=timestamp`

    Example: `crossmargin cascade interest recorded --at 2026-02-05T19:50:00Z --history
    --html interest.html`

    Example: `crossmargin cascade interest mybook --market market.json --ruleset derive-pm2
    --depth "*=1e9" --capital 2e7`
    """  # fmt: skip
    one_or_more(top, "--top")
    if not (math.isfinite(least) and 0 <= least < 1):
        raise InputError(f"--least is {least:g}", code="INP-013", field="--least",
                         hint="a share: 0.001 is 0.1 %")  # fmt: skip
    if Path(source).is_file() or Path(source).suffix in (".parquet", ".csv"):
        made, data = _of_table(source, at, column, unit, least, top)
    else:
        if column:
            raise InputError("--column is of a table, and this is a folder", code="INP-013",
                             field="--column", hint="leave it out")  # fmt: skip
        options = {
            # What has no depth stays without: its share of open interest is shown all the same.
            "supplied": {"*": NO_DEPTH, **_figures(depth)},
            "moves": [_move(text) for text in move or []] or list(_MOVES),
            "capital": above_zero(capital, "--capital"),
            "limit": above_zero(limit, "--limit"),
        }
        if _is_book(source, market):
            if history:
                raise InputError("a stored book has one moment", code="INP-013",
                                 field="--history", hint="leave it out")  # fmt: skip
            made, data = _of_book(source, market, at, ruleset, threads, top, json, options)
        else:
            made, data = _of_accounts(source, at, ruleset, history, least, top, json, options)
    if json:
        _print_json(data)
    show(made, html=html, quiet=json)


def _of_table(
    source: str, at: str | None, column: list[str] | None, unit: str, least: float, top: int
) -> tuple[PlanReport, dict[str, Any]]:
    from crossmargin.cascade.interest_file import read_interest
    from crossmargin.reports.interest import records_report

    names = {}
    for text in column or []:
        name, sign, own = text.partition("=")
        if not (name and sign and own):
            raise InputError(f"{text!r} is not NAME=COLUMN", code="INP-013", field="--column",
                             hint="contract=instrument_name")  # fmt: skip
        names[name.strip()] = own.strip()
    found = read_interest(source, columns=names, at_ns=_moment(at), least=least)
    data = {
        "unit": unit,
        "at": None if found.at_ns is None else _time(found.at_ns),
        "price_usd": found.price,
        "breakdown": _parts_of(found.breakdown),
        "steps": [_steps_data(steps) for steps in found.steps],
    }
    title = f"Open interest of {Path(source).name}"
    return records_report(title, found, unit=unit, top=top), data


def _parts_of(split: Sequence[InterestBreakdown]) -> list[dict[str, Any]]:
    return [
        {
            **plain(dataclasses.replace(one, by_expiry={}, walls={})),
            "by_expiry": _by_expiry(one.by_expiry),
            "walls": _by_expiry(one.walls),
        }
        for one in split
    ]


def _steps_data(steps: InterestSteps) -> dict[str, Any]:
    return {
        "underlying": steps.underlying,
        "times": [_time(t) for t in steps.times_ns.tolist()],
        "open_interest": steps.interest.tolist(),
        "price_usd": plain(steps.price),
        "traded": steps.traded.tolist(),
        "expired": steps.expired.tolist(),
        "reading": steps.reading,
        "by_quadrant": {
            name: {"steps": count, "traded": change}
            for name, (count, change) in steps.by_quadrant().items()
        },
    }


def _time(moment_ns: int) -> str:
    from crossmargin.units import format_time

    return format_time(moment_ns)


def _by_expiry(table: dict[int, float]) -> dict[str, float]:
    return {"none" if when == 0 else _time(when): amount for when, amount in table.items()}


def _of_accounts(
    source: str, at: str | None, ruleset: str, history: bool, least: float, top: int, quiet: bool,
    options: dict[str, Any],
) -> tuple[PlanReport, dict[str, Any]]:  # fmt: skip
    from crossmargin.cascade.interest_history import interest_through_time, population_view
    from crossmargin.cascade.recorded_folder import read_recorded_folder
    from crossmargin.cli._progress import Meter
    from crossmargin.margin import load_ruleset
    from crossmargin.reports.interest import accounts_report
    from crossmargin.reports.terminal import ratio

    read, moment = read_recorded_folder(source, load_ruleset(ruleset)), _moment(at)
    first = int(read.records.moments_ns[0]) if moment is None else moment
    view, _, coverage = population_view(read, first, **options)
    through: tuple[InterestMoment, ...] = ()
    if history:
        with Meter("snapshots", quiet=quiet) as meter:
            through = interest_through_time(
                read, until_ns=None if moment is None else coverage.moment_ns,
                supplied=options["supplied"], moves=options["moves"], least=least,
                progress=meter.step,
            )  # fmt: skip
        if moment is None:
            view, coverage = through[-1].view, through[-1].coverage
            if options["capital"] is not None:
                view, _, coverage = population_view(read, coverage.moment_ns, **options)
    facts = (
        f"Recorded accounts at {_time(coverage.moment_ns)}; equity is implied from stated "
        f"liquidation prices for {ratio(coverage.implied_value_share)} of the value used, and "
        f"{ratio(coverage.used_value_share)} of the recorded value is used. They are a part "
        "of the venue: longs and shorts need not be equal.",
    )
    made = accounts_report(
        "Open interest and leverage of recorded accounts", view, top=top, limit=options["limit"],
        facts=facts, through=through,
    )  # fmt: skip
    return made, {
        "coverage": plain(coverage),
        "view": plain(view),
        "history": [_moment_data(one) for one in through],
    }


def _moment_data(one: InterestMoment) -> dict[str, Any]:
    v = one.view
    return {
        "time": _time(one.moment_ns),
        "accounts": v.accounts,
        "in_both": one.common,
        "open_interest_usd": v.interest,
        "equity_usd": v.equity,
        "leverage": plain(v.leverage),
        "drift": plain(v.drift),
        "herfindahl": v.concentration.herfindahl,
        "overlap": v.overlap,
        "score": plain(v.score),
        "reading": {
            name: {"quadrant": word, "price": p, "open_interest": o}
            for name, (word, p, o) in one.reading.items()
        },
    }


def _of_book(
    source: str, market: str | None, at: str | None, ruleset: str, threads: int | None, top: int,
    quiet: bool, options: dict[str, Any],
) -> tuple[PlanReport, dict[str, Any]]:  # fmt: skip
    import numpy as np

    from crossmargin.cascade.book_gain import exposure_of_book
    from crossmargin.cascade.depth_basis import contract_depth
    from crossmargin.cascade.interest_view import interest_view
    from crossmargin.cascade.open_interest import interest_breakdown
    from crossmargin.cli._book import cores, engine_for, load_book, load_rules_on
    from crossmargin.cli._progress import Meter
    from crossmargin.reports.interest import accounts_report

    world, moment = io.load_market(market or io.DEFAULT_MARKET), _moment(at)
    world = world if moment is None else world.at(moment)
    rules, held = load_rules_on(ruleset, {}), load_book(source).book
    with Meter("evaluations", quiet=quiet) as meter:
        seen = exposure_of_book(
            held, world, rules, threads=cores(threads),
            engine=engine_for("auto", held.size, 20), progress=meter.step,
        )  # fmt: skip
    names = seen.assets[: seen.contracts]
    good = np.asarray(np.isfinite(seen.equity))
    view = interest_view(
        names, seen.exposure.notional, seen.exposure.gained, np.where(good, seen.equity, 0.0),
        contract_depth(names, supplied=options.pop("supplied")).usd, **options,
    )  # fmt: skip
    sides = _sides(held, world)
    split = interest_breakdown({name: max(side) for name, side in sides.items() if max(side) > 0})
    facts = [
        f"{held.size:,} accounts of a stored book under {rules.id}: delta notionals at the "
        "market, options by their delta. By expiry and strike in coins, the larger of both sides."
    ]
    if seen.failed:
        facts.append(f"{seen.failed:,} accounts could not be computed and are left out.")
    made = accounts_report(
        "Open interest and leverage of a book", view, top=top, limit=options["limit"], facts=facts,
        breakdown=_largest(split, world),
    )  # fmt: skip
    return made, {
        "ruleset": rules.id,
        "accounts": held.size,
        "failed": seen.failed,
        "view": plain(view),
        "by_instrument": {n: {"longs": a, "shorts": b} for n, (a, b) in sorted(sides.items())},
        "breakdown": _parts_of(split),
    }


def _largest(
    split: Sequence[InterestBreakdown], world: Snapshot, most: int = 3
) -> list[InterestBreakdown]:
    """Return the underlyings with the most open interest in US dollars; --json has all."""

    def usd(one: InterestBreakdown) -> float:
        return math.fsum(one.by_contract.values()) * world.assets[one.underlying].price_usd

    return sorted(split, key=lambda one: (-usd(one), one.underlying))[:most]


def _sides(held: CompactBook, world: Snapshot) -> dict[str, tuple[float, float]]:
    """Longs and shorts of every contract of a book, coins; inverse ones at the index price."""
    import numpy as np

    count = len(held.registry)
    parts = [(held.position_instrument.astype(np.int64), np.asarray(held.position_quantity))]
    if held.rest is not None:
        parts.append((held.rest.position_instrument, held.rest.position_quantity))
    sums = [np.zeros(count), np.zeros(count)]
    for rows, quantity in parts:
        for k, sign in enumerate((1.0, -1.0)):
            sums[k] += np.bincount(rows, np.maximum(sign * quantity, 0.0), minlength=count)
    found = {}
    for row in np.flatnonzero(sums[0] + sums[1]).tolist():
        item = held.registry[row]
        if item.kind == "spot" or item.underlying not in world.assets:
            continue
        dollars = item.quantity_unit != item.underlying
        unit = item.contract_size / (world.assets[item.underlying].price_usd if dollars else 1.0)
        found[item.id] = (float(sums[0][row]) * unit, float(sums[1][row]) * unit)
    return found
