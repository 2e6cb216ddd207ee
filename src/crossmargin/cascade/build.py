"""From a scenario to what the simulation takes: people, market, rules.

Two seeds: the people's is the scenario's own, the run's says what happens to them. So designs are
compared on common random paths: the same people and the same news, draw by draw, under each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.behaviour import Habits, banking_hours
from crossmargin.cascade.crowd import (
    Holding,
    fenced,
    long_side,
    with_assets,
    with_collateral,
    with_interest,
    with_leverage,
)
from crossmargin.cascade.depth import DepthRule, Resilience, stays, withdrawal
from crossmargin.cascade.draws import generator
from crossmargin.cascade.figures import unknown, wrong_rule
from crossmargin.cascade.funding import Funding
from crossmargin.cascade.generate import generate_population
from crossmargin.cascade.heat import news_gain
from crossmargin.cascade.hooks import (
    LiveBehaviour,
    LiveBooks,
    LiveFunding,
    LiveMargins,
    LiveMarks,
    wealth_of,
)
from crossmargin.cascade.impact import Impact, Linear, LogLinear, Power
from crossmargin.cascade.marks import MarkRule, Wrapped
from crossmargin.cascade.paths import MonteCarlo, jump, scripted
from crossmargin.cascade.population import Population
from crossmargin.cascade.procyclical import Procyclical
from crossmargin.cascade.result import CascadeResult
from crossmargin.cascade.scenario_types import Asset, Coin, Crowd, Scenario
from crossmargin.cascade.setting import CascadeMarket, CascadeRules
from crossmargin.cascade.volatility import Volatility
from crossmargin.errors import CascadeError
from crossmargin.liquidation import adl_rule, breaker, liquidation_rules
from crossmargin.units import NS_PER_DAY, NS_PER_SECOND, parse_time

Floats = NDArray[np.float64]

#: Moves that frighten market makers are those of five minutes (cascades.md §2, fact 4).
_FRIGHT_S = 300.0
#: Volatility that margins follow forgets half in half an hour (house).
_MEMORY_S = 1800.0


def people_of(scenario: Scenario) -> Population:
    """Make up the people of a scenario: the same ones for every run of it.

    Raises
    ------
    CascadeError
        ``CAS-001``, ``CAS-002`` for figures that no population has.
    """
    assets = msgspec.json.encode(scenario.assets)
    return _people(assets, msgspec.json.encode(scenario.coins),
                   msgspec.json.encode(scenario.population))  # fmt: skip


@lru_cache(maxsize=2)
def _people(assets: bytes, coins: bytes, crowd: bytes) -> Population:
    traded = msgspec.json.decode(assets, type=list[Asset])
    others = msgspec.json.decode(coins, type=list[Coin])
    asked = msgspec.json.decode(crowd, type=Crowd)
    made = generate_population(
        asked.accounts,
        [a.name for a in traded],
        asked.seed,
        price=[a.price_usd for a in traded],
        mm_rate=[a.mm_rate for a in traded],
        haircut=[a.haircut for a in traded],
        median_leverage=asked.median_leverage,
        leverage_sigma=asked.leverage_sigma,
        max_leverage=asked.max_leverage,
        tail=asked.tail,
        least_usd=asked.least_usd,
        most_usd=asked.most_usd,
        hedged=asked.hedged,
        coins=0.0,
        long_share=asked.long_share,
        more_positions=asked.more_positions,
        matched=True,
    )
    rates = [2.0 * a.mm_rate if a.im_rate is None else a.im_rate for a in traded]
    made = replace(made, im_rate=np.minimum(np.array(rates), 1.0))
    made = with_interest(made, [a.interest_usd for a in traded])
    if asked.short_leverage != 1.0:
        made = with_leverage(made, np.where(long_side(made), 1.0, asked.short_leverage))
    if others:
        made = with_assets(
            made,
            [c.name for c in others],
            [c.price_usd for c in others],
            [c.haircut for c in others],
        )
    if asked.collateral:
        held = [
            Holding(asset=b.asset, accounts=b.accounts, part=b.part, side=b.side)
            for b in asked.collateral
        ]
        made = with_collateral(made, held, asked.seed)
    if asked.walls == "cross":
        return made
    return fenced(made, None if asked.walls == "isolated" else asked.groups)


def step_sigma(scenario: Scenario) -> Floats:
    """Return the standard deviation of one step's return of every asset, float64[J]."""
    days = scenario.clock.step_s * NS_PER_SECOND / NS_PER_DAY
    daily = [a.volatility_day for a in (*scenario.assets, *scenario.coins)]
    return np.asarray(np.array(daily) * np.sqrt(days), dtype=np.float64)


def news_of(scenario: Scenario, seed: int) -> Floats:
    """Return what happens to prices by themselves, float64[T, J] log-returns.

    The scripts, deeper or shallower by one draw where `noise.script_sd` says so, and noise on top.
    """
    clock, noise, names = scenario.clock, scenario.noise, scenario.names
    scripts = {a.name: a.script for a in (*scenario.assets, *scenario.coins) if a.script}
    news = scripted(scripts, names, steps=clock.steps, step_s=clock.step_s)
    if noise.script_sd > 0.0:
        depth = float(generator(seed, 0, "population").standard_normal())
        # A coin that loses its peg does so as it is written down.
        moving = np.array([a.volatility_day > 0 for a in (*scenario.assets, *scenario.coins)])
        news = news * np.where(moving, np.exp(noise.script_sd * depth), 1.0)
    sigma = noise.scale * step_sigma(scenario)
    if not (sigma > 0).any() and noise.jump_rate_day == 0.0:
        return news
    size = len(names)
    correlation = np.full((size, size), noise.correlation) + (1.0 - noise.correlation) * np.eye(
        size
    )
    law = MonteCarlo(
        volatility=sigma,
        correlation=correlation,
        drift=-0.5 * sigma**2,
        dof=noise.dof,
        marginal="normal" if noise.dof is None else "student",
        jump_rate=noise.jump_rate_day * clock.step_s * NS_PER_SECOND / NS_PER_DAY,
        jump_mean=noise.jump_mean,
        jump_sd=noise.jump_sd,
    )
    return np.asarray(news + law.path(seed, 0, clock.steps), dtype=np.float64)


def depth_of(scenario: Scenario) -> Floats:
    """Return D of every contract before anything, float64[K], US dollars."""
    return np.array([scenario.depth.factor * a.depth_usd for a in scenario.assets])


def script_moves(scenario: Scenario) -> Floats:
    """Return how far the scripts take each asset at the lead's lowest point, float64[J], relative.

    Zero where nothing is scripted; one standard deviation of a day down where no script moves the
    lead, so that a direction is there.
    """
    clock = scenario.clock
    scripts = {a.name: a.script for a in (*scenario.assets, *scenario.coins) if a.script}
    level = np.cumsum(scripted(scripts, scenario.names, steps=clock.steps, step_s=clock.step_s), 0)
    moves = np.expm1(level[int(np.abs(level).max(axis=1).argmax())])
    if np.abs(moves).max() > 0.0:
        return np.asarray(moves, dtype=np.float64)
    daily = [a.volatility_day for a in (*scenario.assets, *scenario.coins)]
    return -np.array(daily)


def script_gain(scenario: Scenario, people: Population) -> float:
    """Return ρ of the accounts whose line lies within the scripted news; see :func:`news_gain`."""
    return news_gain(people, depth_of(scenario), script_moves(scenario))


def market_of(scenario: Scenario, people: Population, seed: int) -> CascadeMarket:
    """Return the market of a run: news, depth, impact, marks, funding, behaviour.

    Raises
    ------
    CascadeError
        ``CAS-001`` for figures out of range, ``CAS-003`` for names that are none.
    """
    clock, k = scenario.clock, len(scenario.assets)
    step_ns = round(clock.step_s * NS_PER_SECOND)
    sigma, law, marks = step_sigma(scenario), _impact(scenario), _marks(scenario)
    asked = scenario.depth
    frightens = asked.withdrawal and bool((sigma[:k] > 0).all())
    rule = DepthRule(
        base_usd=depth_of(scenario),
        refill_half_life_s=np.inf if asked.refill_half_life_s is None else asked.refill_half_life_s,
        gap_share=asked.gap_share,
        withdrawal=withdrawal() if frightens else stays(),
    )
    later = scenario.impact.half_life_s
    books = LiveBooks(
        depth=rule,
        volatility=Volatility(start_sigma=sigma[:k], window=max(1, round(_FRIGHT_S / clock.step_s)))
        if frightens
        else None,
        resilience=Resilience(
            permanent_share=scenario.impact.permanent_share,
            half_life_s=np.inf if later is None else later,
        ),
        seed=seed,
        scatter=asked.scatter and frightens,
        impact=law,
    )
    return CascadeMarket(
        exogenous=news_of(scenario, seed),
        depth_usd=depth_of(scenario),
        start_ns=parse_time(clock.start, field="clock.start"),
        step_ns=step_ns,
        impact=law,
        books=books,
        marks=LiveMarks(rule=marks),
        funding=_funding(scenario),
        margins=_margins(scenario, people, sigma),
        behaviour=_behaviour(scenario, people, seed),
    )


def _impact(scenario: Scenario) -> Impact:
    asked = scenario.impact
    if asked.kind == "linear":
        return Linear()
    if asked.kind == "power":
        return Power(delta=asked.delta, y=asked.y)
    return LogLinear()


def _marks(scenario: Scenario) -> MarkRule:
    names = scenario.names
    wrapped = tuple(
        Wrapped(
            asset=names.index(c.name),
            base=None if c.redeems == "USD" else names.index(c.redeems),
            rate=c.rate,
        )
        for c in (*scenario.assets, *scenario.coins)
        if c.redeems is not None
    )
    asked = scenario.marks
    return MarkRule(
        kind=asked.kind,
        sources=tuple(asked.sources),
        wrapped=wrapped,
        redemption=asked.redemption,
    )


def _funding(scenario: Scenario) -> LiveFunding | None:
    asked = scenario.funding
    if asked.rule is None:
        return None
    from crossmargin.market import funding_rule

    return LiveFunding(
        funding=Funding(
            rule=funding_rule(asked.rule), cap_8h=asked.cap_8h, average_s=asked.average_s
        )
    )


def _margins(scenario: Scenario, people: Population, sigma: Floats) -> LiveMargins | None:
    asked, k = scenario.procyclical, len(scenario.assets)
    if asked.margin == 0.0 and asked.haircut == 0.0:
        return None
    reference = np.maximum(sigma, 1e-12)

    def follows(power: float, n: int) -> Procyclical:
        if power == 0.0:
            return Procyclical()
        return Procyclical(reference=reference[:n], power=power, cap=asked.cap)

    return LiveMargins(
        volatility=Volatility(
            start_sigma=reference, decay=float(0.5 ** (scenario.clock.step_s / _MEMORY_S))
        ),
        haircut=people.haircut,
        contracts=k,
        margin=follows(asked.margin, k),
        collateral=follows(asked.haircut, people.price.size),
    )


def _behaviour(scenario: Scenario, people: Population, seed: int) -> LiveBehaviour | None:
    asked = scenario.behaviour
    habits = Habits(
        topup_per_h=asked.topup_per_h,
        topup_below=asked.topup_below,
        topup_to=2.0 * asked.topup_below,
        deleverage_per_h=asked.deleverage_per_h,
        deleverage_below=asked.deleverage_below,
        deleverage_to=1.5 * asked.deleverage_below,
        stop_share=asked.stop_share,
        stop_loss=asked.stop_loss,
    )
    if habits.idle:
        return None
    return LiveBehaviour(
        habits=habits,
        population=people,
        wealth=wealth_of(people, fiat=asked.fiat, stable=asked.stable),
        seed=seed,
        banks=banking_hours(),
    )


def rules_of(scenario: Scenario) -> CascadeRules:
    """Return the venue's rules of a scenario.

    Raises
    ------
    LiquidationError
        ``LIQ-003`` for rules, an ADL rule or a breaker that is not known.
    CascadeError
        ``CAS-002`` for another ADL rule where the venue has no layer that deleverages.
    """
    asked = scenario.rules
    changes: dict[str, Any] = dict(asked.changes)
    if asked.adl is not None:
        adl_rule(asked.adl)
        shipped = liquidation_rules(asked.liquidation)
        layer = next((x.name for x in shipped.layers if x.adl is not None), None)
        if layer is None:
            raise wrong_rule(f"rules {shipped.id!r} have no layer that deleverages", "rules.adl")
        changes[f"layers.{layer}.adl"] = asked.adl
    interest = sum(a.interest_usd for a in scenario.assets)
    return CascadeRules(
        liquidation=liquidation_rules(asked.liquidation, overrides=changes or None),
        fund_usd=asked.fund_share * interest,
        backstop_usd=asked.backstop_share * interest,
        rounds=asked.rounds,
        absorption=asked.absorbed,
        deleveraging=asked.deleveraging,
        breaker=None if asked.breaker is None else breaker(asked.breaker),
    )


def run_scenario(
    scenario: Scenario, seed: int, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Population, CascadeResult]:
    """Run a scenario once.

    Parameters
    ----------
    scenario : Scenario
        What.
    seed : int
        Of what happens; the people are the scenario's.
    progress : callable, optional
        Told how many steps of how many are done.
    """
    from crossmargin.cascade.simulate import simulate

    people = people_of(scenario)
    market = market_of(scenario, people, seed)
    return people, simulate(people, market, rules_of(scenario), seed=seed, progress=progress)


def shock_runs(
    scenario: Scenario,
    moves: Mapping[str, float] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Population, dict[str, CascadeResult]]:
    """Run the venue once for each shocked asset: a jump of it alone, and no other news.

    Parameters
    ----------
    scenario : Scenario
        Its people, market and rules; scripts and noise are left out.
    moves : mapping of str to float, optional
        By asset, relative; default the scenario's `shocks`.
    progress : callable, optional
        Told how many runs of how many are done.

    Returns
    -------
    tuple of (Population, dict of str to CascadeResult)
        For :func:`crossmargin.cascade.run_contagion`.

    Raises
    ------
    CascadeError
        ``CAS-003`` for an asset that is none, ``CAS-001`` for a move that no price makes or where
        there is no shock at all.
    """
    from crossmargin.cascade.simulate import simulate

    asked = dict(scenario.shocks if moves is None else moves)
    if not asked:
        raise CascadeError(
            f"scenario {scenario.id!r} has no shocks", code="CAS-001", field="shocks",
            hint="name an asset and its move",
        )  # fmt: skip
    people, rules = people_of(scenario), rules_of(scenario)
    around = market_of(scenario, people, 0)
    runs = {}
    for done, (name, move) in enumerate(asked.items()):
        if name not in scenario.names:
            raise unknown("asset", name, scenario.names)
        size = np.zeros(len(scenario.names))
        size[scenario.names.index(name)] = move
        news = jump(size, at=0, steps=scenario.clock.steps)
        runs[name] = simulate(people, replace(around, exogenous=news), rules, seed=0)
        if progress is not None:
            progress(done + 1, len(asked))
    return people, runs
