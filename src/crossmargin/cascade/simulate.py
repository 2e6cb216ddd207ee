"""The cascade: news, marks, margins, liquidations, impact, and again until nobody has to sell.

Source: reference/cascades.md design (a), step order 1 to 10 (house design).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._acts import act
from crossmargin.cascade._blocks import blocks
from crossmargin.cascade._lookout import Lookout
from crossmargin.cascade._losses import check_layers, fund_room
from crossmargin.cascade._measure import Marks
from crossmargin.cascade._outside import Outside
from crossmargin.cascade._paths import Paths
from crossmargin.cascade._program import program
from crossmargin.cascade._round import Desk, Tally, Window, clear
from crossmargin.cascade._settle import settle
from crossmargin.cascade._venue import Venue, to_grid
from crossmargin.cascade.population import Population
from crossmargin.cascade.result import CascadeResult
from crossmargin.cascade.setting import CascadeMarket, CascadeRules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Told after each step: steps done, steps in all.
Progress = Callable[[int, int], None]


def simulate(
    population: Population,
    market: CascadeMarket,
    rules: CascadeRules | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    threads: int = 1,
    check: bool = False,
) -> CascadeResult:
    """Run a cascade.

    Parameters
    ----------
    population : Population
        Everybody; not changed.
    market : CascadeMarket
        News, and how prices take forced sales.
    rules : CascadeRules, optional
        Of the venue; default the house's.
    seed : int
        Written into the result. The core draws nothing: rules around it have seeds of their own.
    progress : callable, optional
        ``progress(done, steps)`` after each step.
    threads : int
        For large populations; changes no bit of the result.
    check : bool
        Add every account up after every step and hold the laws of conservation to it, not only
        to running totals. Slow; changes no price.

    Returns
    -------
    CascadeResult

    Raises
    ------
    CascadeError
        ``CAS-001`` a market that does not fit the population, ``CAS-011`` rules that do not run on
        columns of accounts.
    InvariantViolation
        Where a law of conservation is broken: a bug.

    Notes
    -----
    It ranks designs and scenarios; it does not forecast prices. Behaviour and the absorption φ are
    not identified by any data, depth is that of one venue, and where a fall stops is not
    predictable (cascades.md, "Honest limits").
    """
    run = _Run(population, market, rules or CascadeRules(), threads, check)
    for step in range(run.steps):
        run.step(step)
        if progress is not None:
            progress(step + 1, run.steps)
    return run.result(seed)


class _Run:
    """One run."""

    def __init__(
        self,
        people: Population,
        market: CascadeMarket,
        rules: CascadeRules,
        threads: int,
        check: bool,
    ) -> None:
        check_layers(rules.liquidation)
        self.people, self.market, self.rules, self.check = people, market, rules, check
        self.outside = Outside(people, market, rules)
        self.steps = self.outside.steps
        venue = self.venue = Venue(people, rules.fund_usd, rules.backstop_usd)
        self.program = program(
            rules.liquidation,
            brackets=people.brackets is not None,
            backstop=rules.backstop_usd > 0.0,
            slack_usd=venue.cent,
        )
        self.lookout = Lookout(
            venue.rows,
            venue.table,
            self.program.line,
            venue.quanta,
            venue.cent,
            assets=people.price.size,
            history=venue.history,
            threads=threads,
        )
        sizes = np.diff(people.start)
        self.desk = Desk(venue, self.lookout, rules, self.program, sizes)
        now = self.outside.now(venue)
        self.lookout.begin(now)
        self.desk.pending.append(np.arange(people.size, dtype=np.int32))
        self.paths = Paths(self.steps, self.outside, venue, now)

    def step(self, step: int) -> None:
        """Let one step pass."""
        outside, venue, desk = self.outside, self.venue, self.desk
        desk.holders.new_step(outside.mark)
        outside.move(step, venue)
        now = outside.now(venue)
        k = venue.quanta.size
        tally = Tally(np.zeros(k), np.zeros(k), np.zeros(k))
        window = outside.window()
        if self.market.behaviour is not None:
            now = act(self.market.behaviour, outside, desk, window, now)
        for _ in range(self.rules.rounds):
            now, again = self._round(step, window, now, tally)
            if not again:
                break
        self._check()
        self.paths.write(step, outside, venue, now, tally)

    def _round(self, step: int, window: Window, now: Marks, tally: Tally) -> tuple[Marks, bool]:
        """Work through one round; say whether another may bring anything."""
        desk, time_ns = self.desk, self.outside.time_ns
        desk.holders.new_round()
        found = desk.look(now, tally)
        if not found.ids.size or window.halted.all():
            return now, False
        orders, empty = desk.decide(found, now, time_ns)
        if not orders.row.size and not empty.size:
            return now, False
        purse = fund_room(desk, time_ns) + self.venue.backstop
        direct = self.rules.deleveraging == "direct" and desk.holders.rule is not None
        cleared = clear(desk, orders, window, now, purse, direct=direct)
        done = settle(desk, orders, cleared, empty, window, now, tally, step, time_ns)
        tally.rounds += 1
        if cleared.market.any():
            self.outside.fill(window)
        more = bool((done > self.rules.rest * self.venue.gross).any())
        return self.outside.now(self.venue), more or bool(empty.size)

    def _check(self) -> None:
        venue = self.venue
        if not self.check:
            venue.check()
            return
        # On a copy: nothing is written down in a run that one without checks does not write.
        rows = venue.rows
        copied = rows.copied()
        self.lookout.fold_all(copied)
        venue.check(columns=copied)

    def result(self, seed: int) -> CascadeResult:
        """Measure everybody a last time and say what happened."""
        venue, desk = self.venue, self.desk
        # At a million accounts every column counts: shares are made where coins were noted.
        for _, rows in blocks(self.people.start):
            quanta = venue.quanta[self.people.contract[rows]]
            held = np.abs(to_grid(self.people.quantity[rows], quanta))
            held[held == 0.0] = 1.0
            for column in (desk.closed[rows], desk.adl_closed[rows]):
                if column.any():
                    column /= held
                    np.minimum(column, 1.0, out=column)
        evaluations = self.lookout.evaluations
        self.lookout.fold_all()
        equity = self.lookout.standing(self.outside.now(venue)).equity
        venue.check(columns=venue.rows)
        return self.paths.result(
            first_step=desk.first_step,
            closed=desk.closed,
            adl_closed=desk.adl_closed,
            equity=equity,
            quantity=venue.rows.quantity,
            adl_forgone=desk.forgone,
            evaluations=evaluations,
            conservation=venue.error,
            seed=seed,
            parameters=_parameters(self.market, self.rules),
        )


def _parameters(market: CascadeMarket, rules: CascadeRules) -> dict[str, Any]:
    return {
        "liquidation": rules.liquidation.id,
        "fund_usd": rules.fund_usd,
        "backstop_usd": rules.backstop_usd,
        "rounds": rules.rounds,
        "rest": rules.rest,
        "absorption": rules.absorption,
        "deleveraging": rules.deleveraging,
        "adl_cap": rules.adl_cap,
        "breaker": None if rules.breaker is None else rules.breaker.id,
        "start_ns": market.start_ns,
        "step_ns": market.step_ns,
        "impact": repr(market.impact),
    }
