"""Replaying recorded prices over a book: pace, latency, what is said of each tick."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from crossmargin.cli._app import _moment
from crossmargin.cli._watch_output import JsonLines, Lines, Replay, event_rows
from crossmargin.errors import InputError, MarketDataError
from crossmargin.units import NS_PER_SECOND

if TYPE_CHECKING:
    from crossmargin.book import CompactBook
    from crossmargin.cli._book import Engine
    from crossmargin.margin import Breaches, Ruleset, Watcher
    from crossmargin.market import Snapshot, Ticks


def run_watch(
    held: CompactBook,
    world: Snapshot,
    rules: Ruleset,
    *,
    recording: str,
    prices_as: str,
    since: str | None,
    until: str | None,
    speed: float | None,
    threads: int,
    engine: Engine,
    top: int,
    out: str | None,
    overwrite: bool,
    json: bool,
    html: str | None,
    warnings: list[str],
) -> int:
    """Replay a recording over a book and report the breaches of every tick."""
    from crossmargin.cli._book import engine_for
    from crossmargin.margin import make_watcher
    from crossmargin.market import read_ticks

    if html is not None:
        raise InputError(
            "a replay has no page", code="INP-013", field="--html", hint="use --json or --out"
        )
    if speed is not None and not 0 < speed < float("inf"):
        raise InputError(
            f"a replay cannot go at {speed:g} times real time",
            code="INP-013",
            field="--speed",
            hint="give a number above 0",
        )
    ticks = read_ticks(recording, since_ns=_moment(since), until_ns=_moment(until))
    ticks, ignored = _that_matter(ticks, held, world)
    moves = recorded_moves(ticks, world, prices_as)
    chosen = engine_for(engine, held.size, len(ticks))
    watcher = make_watcher(
        held, world, rules, coins=ticks.coins, ticks=len(ticks), threads=threads, engine=chosen
    )
    if watcher.reason:
        warnings = [
            *warnings,
            "everybody is computed at every tick, for trigger prices cannot be had: "
            + watcher.reason,
        ]
    said = JsonLines(held, top) if json else Lines(held, top)
    said.begin(world, rules, ticks, ignored, prices_as, warnings)
    kept = Replay()
    events: list[Any] = []
    start = watcher.tick(world.moment_ns, {})
    kept.deficit_usd = watcher.deficit_usd()
    said.start(start, kept.deficit_usd)
    try:
        for made in replay(watcher, moves, kept, speed=speed):
            said.tick(made, kept.deficit_usd)
            if out is not None:
                events.append((kept.ticks, made))
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\ninterrupted: {kept.ticks:,} of {len(ticks):,} ticks; nothing was written\n"
        )
        return 130
    if out is not None:
        from crossmargin.cli._results import write_parquet

        write_parquet(event_rows(held, events), out, overwrite=overwrite)
    said.end(kept, out)
    return 0


def _that_matter(
    ticks: Ticks, held: CompactBook, world: Snapshot
) -> tuple[Ticks, dict[str, list[str]]]:
    """Keep the coins that the book is exposed to; say which were left and which stand still."""
    registry = held.registry
    used = {registry[int(k)].underlying for k in held.instruments_used()}
    used |= {registry.assets[int(k)] for k in held.assets_used()}
    used.discard("USD")
    recorded = set(ticks.coins)
    known = {name for name in recorded & used if name in world.assets}
    said = {
        "not held": sorted(recorded - used),
        "without a price in the market": sorted((recorded & used) - known),
        "not recorded, unmoved": sorted(used - recorded),
    }
    if not known:
        raise InputError(
            f"the recording moves {', '.join(ticks.coins[:8])}, and the book holds none of them "
            "in this market",
            code="INP-071",
            field="--watch",
            hint=f"the book is exposed to {', '.join(sorted(used)[:8]) or 'nothing'}",
        )
    return ticks.only(known), said


def recorded_moves(
    ticks: Ticks, world: Snapshot, prices_as: str
) -> Iterator[tuple[int, dict[str, float]]]:
    """Turn recorded prices into US dollar prices of the market's coins, tick by tick.

    ``moves``: each coin's price in the market, times what the recording has moved since its first
    price. ``levels``: the recorded price itself, times the dollar price of what it is paid in.

    Raises
    ------
    MarketDataError
        ``MKT-001`` for levels in a stablecoin that the market does not price.
    """
    if prices_as == "moves":
        return _moves(ticks, world)
    rate = {}
    for coin, paid in zip(ticks.coins, ticks.paid_in, strict=True):
        try:
            rate[coin] = world.asset_usd(paid)
        except MarketDataError as error:
            raise MarketDataError(
                f"{coin} is recorded in {paid}, and the market has no price for {paid}",
                code="MKT-001",
                field=f"assets.{paid}",
                hint=f"add {paid} to the market, or replay with --prices-as moves",
            ) from error
    return ((t, {k: v * rate[k] for k, v in row.items()}) for t, row in ticks)


def _moves(ticks: Ticks, world: Snapshot) -> Iterator[tuple[int, dict[str, float]]]:
    first: dict[str, float] = {}
    for moment, row in ticks:
        for coin, price in row.items():
            first.setdefault(coin, price)
        yield moment, {k: world.assets[k].price_usd * (v / first[k]) for k, v in row.items()}


def replay(
    watcher: Watcher,
    moves: Iterator[tuple[int, dict[str, float]]],
    kept: Replay,
    *,
    speed: float | None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Breaches]:
    """Feed ticks to a watcher, at a pace or as fast as it goes; yield what each did.

    Every tick is taken, in order, also when the watcher falls behind: what happens, and at which
    tick, does not depend on the pace.
    """
    begun, first_ns = clock(), None
    for moment, prices in moves:
        first_ns = moment if first_ns is None else first_ns
        if speed is not None:
            due = begun + (moment - first_ns) / NS_PER_SECOND / speed
            ahead = due - clock()
            if ahead > 0:
                sleep(ahead)
            else:
                kept.late_s = max(kept.late_s, -ahead)
        taken = clock()
        made = watcher.tick(moment, prices)
        kept.latencies_s.append(clock() - taken)
        kept.ticks += 1
        kept.breached_ticks += bool(made.fallen.size)
        kept.fallen += made.fallen.size
        kept.who.update(made.fallen.tolist())
        kept.recovered += made.recovered.size
        kept.below, kept.failed = made.below, max(kept.failed, made.failed)
        kept.most_below = max(kept.most_below, made.below)
        # Who crossed has been told: what all of them lack does not count in the latency.
        kept.deficit_usd = watcher.deficit_usd()
        if kept.deficit_usd > kept.worst_deficit_usd:
            kept.worst_deficit_usd, kept.worst_time_ns = kept.deficit_usd, moment
        yield made
