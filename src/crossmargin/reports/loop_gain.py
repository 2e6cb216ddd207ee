"""Loop gain of a population, and a recorded fall, as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crossmargin.cascade.book_gain import BookExposure
from crossmargin.cascade.depth_basis import ContractDepth
from crossmargin.cascade.fragility import ContractFragility, Fragility
from crossmargin.cascade.gain import Gain
from crossmargin.cascade.ladder import Fuse
from crossmargin.cascade.population import Population
from crossmargin.cascade.recorded import Coverage
from crossmargin.cascade.replay import FATES, Evidence, Moment, Replay
from crossmargin.cascade.shock import ShockResponse
from crossmargin.reports._text import price, short
from crossmargin.reports.terminal import ratio, table_of, usd
from crossmargin.units import format_time

LIMITS = (
    "First order: sales move prices in a straight line, D is one number a contract, and G holds "
    "inside one set of accounts. It ranks designs and days; it does not forecast prices.",
    "Everybody at the line is a property of the positions, not a state of the market: the moves "
    "start from where accounts stand.",
)


def figure(value: float, digits: int = 4) -> str:
    """Write a gain with a few significant digits; a dash for none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "no limit"
    return f"{value:,.{digits}g}" if abs(value) < 1e4 else f"{value:,.0f}"


def print_fragility(
    console: Console,
    people: Population,
    made: Fragility,
    depth: ContractDepth,
    coverage: Coverage | None,
    *,
    top: int,
) -> None:
    """Print the gain, what moves reach, fuses and maps, leverage and its concentration."""
    console.print(
        Text(
            f"{people.size:,} accounts, {people.contract.size:,} positions in "
            f"{len(people.contracts)} contracts; open interest {short(made.open_interest)} USD",
            "bold",
        )
    )
    if coverage is not None:
        console.print(_coverage(coverage))
    console.print(_gain(made.gain, depth.known(people.contracts)))
    console.print(_eigen(made.gain, len(people.contracts), top))
    if (pairs := _coupling(made.gain, top)) is not None:
        console.print(pairs)
    console.print(_shocks(made.shocks, people.contracts, made.gain.assets))
    console.print(_contracts(made.contracts, depth, people.contracts))
    console.print(_maps(made.contracts))
    console.print(_systemic(made))
    _notes(console, [*LIMITS, _depth_words(depth)])


def print_book_gain(
    console: Console,
    seen: BookExposure,
    gain: Gain,
    shocks: Sequence[ShockResponse],
    depth: ContractDepth,
    ruleset: str,
    *,
    top: int,
) -> None:
    """Print the gain of a stored book, measured through the margin engine."""
    whole = float(seen.open_interest.sum())
    console.print(
        Text(
            f"{seen.equity.size:,} accounts under {ruleset}, {seen.failed:,} of them not computed; "
            f"long deltas {short(whole)} USD",
            "bold",
        )
    )
    console.print(_gain(gain, depth.known(seen.assets[: seen.contracts])))
    console.print(_eigen(gain, seen.contracts, top))
    if (pairs := _coupling(gain, top)) is not None:
        console.print(pairs)
    console.print(_shocks(shocks, seen.assets[: seen.contracts], seen.assets))
    measured = (
        f"Measured by margining the book {seen.evaluations:,} times, each coin a little up and "
        "down; a pro-rata cut is taken to free its share of MM."
    )
    _notes(console, [*LIMITS, measured, _depth_words(depth)])


def _notes(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(Text("• " + line, "dim"))


def _depth_words(depth: ContractDepth) -> str:
    count = {name: depth.basis.count(name) for name in ("supplied", "panel", "scaled by volume")}
    said = f"Depth D: {count['supplied']} supplied, {count['panel']} from a panel of October 2025 "
    said += f"(one large venue, secondary), {count['scaled by volume']} scaled by daily volume"
    if math.isfinite(depth.per_volume):
        said += f" ({depth.per_volume:.2g} × volume, house)"
    return said + ". ρ goes as 1/D: halve all depths and it doubles."


def _coverage(found: Coverage) -> Table:
    table = table_of(
        f"equity at {format_time(found.moment_ns)} from", "accounts", "positions", "value, USD"
    )
    names = {
        "agreed": "liquidation prices, two or more agreeing",
        "one price": "one liquidation price",
        "largest of several": "the largest of several that disagree",
        "recorded value": "the leaderboard (may be stale)",
        "no brackets": "left out: no brackets",
        "no equity": "left out: no equity, or below the requirement",
    }
    for key, words in names.items():
        table.add_row(
            words,
            f"{found.accounts[key]:,}",
            f"{found.positions[key]:,}",
            usd(found.value[key], 0),
        )
    table.add_row(
        "implied from liquidation prices",
        f"{found.isolated:,} isolated",
        ratio(found.implied_share),
        ratio(found.implied_value_share),
        style="bold",
    )
    if found.unobtained:
        table.add_row("on the leaderboard, positions not obtained", f"{found.unobtained:,}", "", "")
    return table


def _gain(g: Gain, known: Sequence[str]) -> Table:
    table = table_of("loop gain, everybody at the line", "")
    state = "stable: cascades end" if g.stable else "runaway: every round is larger than the last"
    table.add_row("ρ(G), gain of a round", Text(figure(g.radius), "bold"))
    table.add_row("that is", Text(state, "green" if g.stable else "bold red"))
    if 0 < len(known) < len(g.depth):
        among = figure(g.radius_among(known))
        table.add_row(f"ρ among the {len(known):,} contracts whose depth is not scaled", among)
    if not g.real:
        table.add_row("sign", "the leading motion alternates: no one-way cascade")
    table.add_row("distance to criticality, 1 − ρ", figure(g.distance))
    table.add_row("ρ = 1 at depth × (all assets)", figure(g.critical_depth_scale))
    table.add_row("ρ = 1 at leverage × (at the line)", figure(g.critical_leverage_scale()))
    table.add_row("accounts counted", f"{g.active:,}")
    return table


def _eigen(g: Gain, contracts: int, top: int) -> Table:
    table = table_of(
        "leading motion", "moves together", "feeds it most", "depth buys, share", "∂ρ per +1 % of D"
    )
    share = g.depth_elasticity()
    order = np.argsort(-(np.abs(g.right) + np.abs(g.left)), kind="stable")[:top]
    for k in order.tolist():
        traded = k < contracts
        table.add_row(
            g.assets[k],
            ratio(float(g.right[k])),
            ratio(float(g.left[k])),
            ratio(float(share[k])) if traded else "not traded",
            f"{-0.01 * g.radius * float(share[k]):+.3g}" if traded else "–",
        )
    return table


def _coupling(g: Gain, top: int) -> Table | None:
    """Largest off-diagonal entries: whose fall makes what else fall."""
    off = g.matrix - np.diag(np.diag(g.matrix))
    order = np.argsort(-np.abs(off), axis=None, kind="stable")[:top]
    rows = [divmod(int(x), off.shape[1]) for x in order]
    rows = [(k, j) for k, j in rows if off[k, j] != 0.0]
    if not rows:
        return None
    table = table_of("contagion: a fall of", "makes fall", "G, per unit of return", left=2)
    for k, j in rows:
        table.add_row(g.assets[j], g.assets[k], figure(float(off[k, j])))
    return table


def move_words(shock: Sequence[float], assets: Sequence[str]) -> str:
    """Write a shock: one figure where all assets move alike, else those that move."""
    if len(set(shock)) == 1:
        return f"all {shock[0] * 100:+g} %"
    return ", ".join(f"{name} {x * 100:+g} %" for name, x in zip(assets, shock) if x)


def _shocks(
    shocks: Sequence[ShockResponse], contracts: Sequence[str], assets: Sequence[str]
) -> Table:
    names = contracts[:3]
    table = table_of(
        "assets move by",
        *(f"{name} ends at" for name in names),
        "cut in part",
        "closed",
        "closed by force, USD",
        "ρ of those cut",
        title="from where accounts stand, to first order",
    )
    for one in shocks:
        table.add_row(
            move_words(one.shock.tolist(), assets),
            *(f"{one.returns[k] * 100:+.2f} %" for k in range(len(names))),
            f"{one.active:,}",
            f"{one.closed:,}",
            usd(float(np.abs(one.sold).sum()), 0),
            figure(one.gain.radius) + ("" if one.settled else " (not settled)"),
        )
    return table


def _fuse(found: Fuse) -> str:
    if math.isnan(found.price):
        return "none"
    return f"{price(found.price)} ({found.distance * 100:+.1f} %)"


def _contracts(
    rows: Sequence[ContractFragility], depth: ContractDepth, contracts: Sequence[str]
) -> Table:
    basis = dict(zip(contracts, depth.basis))
    table = table_of(
        "contract, USD",
        "mark",
        "open interest",
        "depth D",
        "D is",
        "OI/D",
        "own gain",
        "longs below",
        "shorts above",
        "fuse below",
        "fuse above",
    )
    for one in rows:
        table.add_row(
            one.contract,
            price(one.mark),
            short(one.open_interest),
            short(one.depth),
            basis.get(one.contract, "").partition(" ")[0],
            figure(one.interest_over_depth, 3),
            figure(one.own_gain, 3),
            short(one.longs_below),
            short(one.shorts_above),
            _fuse(one.fuse_down),
            _fuse(one.fuse_up),
        )
    return table


_BARS = " ▁▂▃▄▅▆▇█"


def _maps(rows: Sequence[ContractFragility]) -> Table:
    table = table_of(
        "contract",
        "half → mark → 1.5 ×",
        "inside, USD",
        "outside, USD",
        "peak gain below, at",
        title="closed by force, by price",
    )
    for column in table.columns:
        column.no_wrap = True
    for one in rows:
        value = one.map.notional
        peak = float(value.max(initial=0.0)) or 1.0
        levels = [math.ceil(8.0 * v / peak) for v in value.tolist()]
        half = len(levels) // 2
        bar = "".join(_BARS[x] for x in levels[:half]) + "|"
        bar += "".join(_BARS[x] for x in levels[half:])
        bar = f"|{bar}|"  # a bar that ends in blanks is cut, and its mark no longer in line
        table.add_row(
            one.contract,
            bar,
            short(one.map.inside),
            short(one.map.beyond),
            f"{figure(one.peak_gain, 3)}, {price(one.peak_price)}" if one.peak_gain else "none",
        )
    return table


def _systemic(made: Fragility) -> Table:
    table = table_of("everybody", "value", "part", "adds to −ln(1 − score)")
    s, c = made.score, made.concentration
    rows = (
        ("leverage Λ", figure(made.leverage, 3), s.leverage, s.contribution["leverage"]),
        (
            f"concentration (like {c.effective:,.0f} equal holders)",
            figure(c.herfindahl, 3),
            s.concentration,
            s.contribution["concentration"],
        ),
        ("overlap of books", figure(made.overlap, 3), s.overlap, s.contribution["overlap"]),
    )
    for name, value, part, adds in rows:
        table.add_row(name, value, figure(part, 3), figure(adds, 3))
    table.add_row("systemic score, 0 to 1 (ranks; house)", figure(s.score, 3), "", "", style="bold")
    return table


def print_replay(console: Console, done: Replay, *, top: int) -> None:
    """Print the moments side by side, and the evidence with its reasons."""
    for title, group in (
        ("everybody recorded", done.moments),
        ("addresses recorded at all three moments", done.common),
    ):
        if group:
            console.print(_moments(title, group))
    for one in done.moments:
        console.print(
            Text(f"{one.label}: {format_time(one.moment_ns)}", "bold"),
        )
        console.print(_contracts(one.fragility.contracts[:top], one.depth, tuple(one.marks)))
        console.print(_maps(one.fragility.contracts[:top]))
    console.print(Text("UNIDENTIFIED EVIDENCE: predicted cuts beside what was seen", "bold yellow"))
    for found in done.evidence:
        console.print(_evidence(found))
    _notes(console, [f"not identified: {line}." for line in done.evidence[0].reasons])
    _notes(console, [*LIMITS, _depth_words(done.moments[0].depth)])


def _moments(title: str, group: Sequence[Moment]) -> Table:
    table = table_of(title, *(f"{one.label}" for one in group))
    made = [one.fragility for one in group]

    def row(name: str, values: Sequence[str]) -> None:
        table.add_row(name, *values)

    row("snapshot", [format_time(one.moment_ns)[:16] + "Z" for one in group])
    coin = max(group[0].marks, key=lambda c: c == "BTC")
    row(f"{coin} mark, USD", [price(one.marks.get(coin, math.nan)) for one in group])
    row("accounts", [f"{sum(one.coverage.accounts.values()):,}" for one in group])
    row("equity implied, of value", [ratio(one.coverage.implied_value_share) for one in group])
    row("open interest, USD", [short(f.open_interest) for f in made])
    row("leverage Λ", [figure(f.leverage, 3) for f in made])
    row("ρ(G), everybody at the line", [figure(f.gain.radius) for f in made])
    known = [one.depth.known(tuple(one.marks)) for one in group]
    if 0 < len(known[0]) < len(group[0].marks):
        among = [f.gain.radius_among(names) for f, names in zip(made, known)]
        row("ρ among contracts whose depth is not scaled", [figure(x) for x in among])
    row("ρ = 1 at leverage ×", [figure(f.gain.critical_leverage_scale()) for f in made])
    for place, shock in enumerate(made[0].shocks):
        words = move_words(shock.shock.tolist(), made[0].gain.assets)
        sold = [f.shocks[place] for f in made]
        row(f"{words}: closed by force, USD", [short(float(np.abs(s.sold).sum())) for s in sold])
        row(f"{words}: cut in part, closed", [f"{s.active:,}, {s.closed:,}" for s in sold])
    row("systemic score (ranks)", [figure(f.score.score, 3) for f in made])
    return table


def _evidence(found: Evidence) -> Table:
    start, end = (format_time(t)[:16] + "Z" for t in found.between)
    table = table_of(
        f"{start} to {end}",
        *FATES,
        "positions",
        "value before, USD",
        title=f"{found.addresses:,} of {found.addresses_before:,} addresses are in both; "
        f"{found.accounts_cut:,} pots of the first come below their line on {found.steps:,} steps "
        "of price",
    )
    for key in ("cut", "not cut"):
        counts = found.count[key]
        table.add_row(
            "the engine would have cut" if key == "cut" else "it would not",
            *(f"{counts[fate]:,}" for fate in FATES),
            f"{sum(counts.values()):,}",
            usd(sum(found.value[key].values()), 0),
        )
    return table
