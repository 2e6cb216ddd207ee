"""What pooling saves and what it puts at stake: always as a pair.

Saving is ``1 − IM / Σ standalone IM``. The cost is in the tail: in separate pots a position can
lose what it was given, in one pot it can lose everything. Both are measured on the same
scenarios, with the same capital.

Source
------
Requirements row A00: saving, multiplier, and the rise in CVaR of the account's loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.instruments import DOLLARS
from crossmargin.margin import (
    Evaluation,
    Frame,
    Ruleset,
    Statement,
    evaluate,
    make_statement,
    standalone_margins,
    sum_by,
)
from crossmargin.market import Snapshot
from crossmargin.scenarios import ScenarioSet, UnderlyingShocks, build_table, plan_table
from crossmargin.stats import expected_shortfall, generator

Floats = NDArray[np.float64]


class TailCost(msgspec.Struct, frozen=True, kw_only=True):
    """Loss of the account in the tail, pooled and in separate pots, US dollars.

    Attributes
    ----------
    cvar_pooled, cvar_separate : float
        Mean loss of the worst 1 % of scenarios.
    rise : float
        Pooled less separate: what pooling puts at stake.
    confidence : float
        0.99.
    horizon_days : float
        Over which prices move.
    scenarios : int
        How many.
    seed : int
        Of the generator.
    vol : dict of str to float
        Annual volatility assumed for each underlying.
    correlation : float
        Between underlyings.
    """

    cvar_pooled: float
    cvar_separate: float
    rise: float
    confidence: float
    horizon_days: float
    scenarios: int
    seed: int
    vol: dict[str, float]
    correlation: float


class ComparisonRow(msgspec.Struct, frozen=True, kw_only=True):
    """One rule-set's answer, or the reason it has none."""

    ruleset: str
    statement: Statement | None = None
    tail: TailCost | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TailModel:
    """Common scenarios for the tail: Student-t moves, correlated, seeded.

    Attributes
    ----------
    horizon_days : float
        Horizon of the moves.
    scenarios : int
        Number of joint moves.
    degrees : float
        Degrees of freedom; 4 gives crypto-like tails and a finite variance.
    correlation : float
        Between any two underlyings.
    confidence : float
        Tail probability is one minus this.
    seed : int
        Seed of the generator.
    """

    horizon_days: float = 1.0
    scenarios: int = 4_000
    degrees: float = 4.0
    correlation: float = 0.8
    confidence: float = 0.99
    seed: int = 20260203

    def __post_init__(self) -> None:
        """Refuse what has no variance or no tail."""
        good = (
            self.degrees > 2
            and 0 < self.confidence < 1
            and 0 <= self.correlation <= 1
            and self.horizon_days > 0
            and self.scenarios * (1 - self.confidence) >= 1
        )
        if not good:
            raise MarginError(
                "a tail model needs degrees > 2, confidence and correlation within 0 and 1, a "
                "horizon above 0 and at least one scenario in the tail",
                code="MRG-002",
                field="model",
            )


def joint_moves(names: Sequence[str], vols: Sequence[float], model: TailModel) -> Floats:
    """Return joint relative moves ``[U, N]``: unit-variance Student-t with one common factor."""
    rng = generator(model.seed)
    common = rng.standard_normal(model.scenarios)
    own = rng.standard_normal((len(names), model.scenarios))
    mix = np.sqrt(rng.chisquare(model.degrees, model.scenarios) / model.degrees)
    normal = np.sqrt(model.correlation) * common + np.sqrt(1.0 - model.correlation) * own
    unit = normal / mix * np.sqrt((model.degrees - 2.0) / model.degrees)
    sigma = np.asarray(vols)[:, None] * np.sqrt(model.horizon_days / 365.0)
    return np.asarray(np.expm1(np.clip(sigma * unit, -3.0, 3.0)))


def underlying_vol(snapshot: Snapshot, underlying: str) -> float:
    """At-the-money volatility nearest to thirty days, or 0.60 where the market has no options.

    A stated assumption of the tail measure, printed with it.
    """
    target = snapshot.moment_ns + 30 * 86_400 * 10**9
    slices = [
        (abs(expiry - target), s) for (n, expiry), s in snapshot.surfaces.items() if n == underlying
    ]
    if slices:
        nearest = min(slices, key=lambda pair: pair[0])[1]
        return float(nearest.vol(nearest.forward_usd))
    vols = [
        q.vol
        for name, q in snapshot.quotes.items()
        if q.vol is not None and name.startswith(underlying)
    ]
    return float(np.median(vols)) if vols else 0.60


def tail_cost(done: Evaluation, snapshot: Snapshot, model: TailModel | None = None) -> TailCost:
    """Measure what pooling puts at stake.

    Every position is revalued in each scenario (volatility held). *Separate*: each position has
    a pot whose equity is its standalone initial margin (or its own value, when that is more)
    and loses at most that; the rest of the equity
    stands aside. *Pooled*: each pot of the rule-set loses at most its equity. Coin collateral
    loses with its price in both. Where the rule-set fences every position the two are the same.

    Parameters
    ----------
    done : Evaluation
        The evaluated account.
    snapshot : Snapshot
        Its market, for volatilities.
    model : TailModel, optional
        Horizon, number of scenarios, tails, correlation, seed.
    """
    model = model or TailModel()
    frame = done.frame
    book, a = frame.book, frame.arrangement
    registry = book.registry
    names = sorted(
        {registry.assets[u] for u in a.group_underlying}
        | {
            registry.assets[frame.follow[asset]]
            for asset in book.balance_asset
            if registry.assets[asset] not in DOLLARS
        }
    )
    vols = [underlying_vol(snapshot, name) for name in names]
    move = joint_moves(names, vols, model) if names else np.zeros((0, model.scenarios))
    position_loss, coin = scenario_losses(frame, names, move)
    settle = frame.terms.settlement[book.position_instrument]
    usd = frame.view.asset_usd
    profit, value = frame.position_values()
    alone = standalone_margins(frame).im[: book.position_quantity.size]
    own = (profit + value) * usd[settle]
    limit = np.maximum(alone, own)
    coins = coin.sum(axis=0)
    equity = np.maximum(done.have.mm * frame.pot_usd, 0.0)
    by_pot = sum_by(position_loss, a.position_pot, a.pots) + sum_by(coin, a.balance_pot, a.pots)
    pooled = np.minimum(by_pot, equity[:, None]).sum(axis=0)
    separate = np.minimum(position_loss, limit[:, None]).sum(axis=0) + coins
    separate = np.minimum(separate, float(equity.sum()))
    if frame.ruleset.data.pools.by == "position":
        separate = pooled  # every position is fenced already: nothing is pooled
    pooled_cvar = expected_shortfall(pooled, model.confidence)
    separate_cvar = expected_shortfall(separate, model.confidence)
    return TailCost(
        cvar_pooled=pooled_cvar,
        cvar_separate=separate_cvar,
        rise=pooled_cvar - separate_cvar,
        confidence=model.confidence,
        horizon_days=model.horizon_days,
        scenarios=model.scenarios,
        seed=model.seed,
        vol=dict(zip(names, vols)),
        correlation=model.correlation,
    )


def scenario_losses(frame: Frame, names: Sequence[str], move: Floats) -> tuple[Floats, Floats]:
    """Revalue every position and balance in joint moves of some coins, volatility held.

    Parameters
    ----------
    frame : Frame
        The account today.
    names : sequence of str
        Coins that move; what follows one under the rule-set moves with it.
    move : float64[U, S]
        Relative moves, above −1.

    Returns
    -------
    float64[N, S], float64[B, S]
        Loss of each position and of each balance, US dollars at the prices of the scenario.
    """
    book, registry, scenarios = frame.book, frame.book.registry, move.shape[1]
    shocks = ScenarioSet(
        underlyings=tuple(names),
        move=move,
        move_linear=move,
        vol_state=np.zeros(scenarios, dtype=np.int64),
        weight=np.ones_like(move),
        extended=np.zeros(scenarios, dtype=np.bool_),
        turned=np.zeros(scenarios, dtype=np.bool_),
        labels=(),
        shocks=tuple(UnderlyingShocks(price_range=0.5) for _ in names),
        reference_days=30.0,
    )
    alias = frame.ruleset.data.groups
    plan = plan_table(registry, shocks, rows=frame.used, underlying_alias=alias)
    table = build_table(plan, frame.view, discount=frame.discount)
    place = {name: row for row, name in enumerate(names)}
    settle = frame.terms.settlement[book.position_instrument]
    usd = frame.view.asset_usd
    pnl = book.position_quantity[:, None] * table.pnl[book.position_instrument]
    profit, value = frame.position_values()
    # A coin-settled gain and what is held in coin are worth more or less dollars afterwards.
    factor = np.stack([_factor(frame, place, move, int(s)) for s in settle]) if settle.size else 1.0
    held = (profit + value)[:, None]
    position_loss = -(pnl * factor + held * (factor - 1.0)) * usd[settle][:, None]
    coin = np.zeros((book.balance_amount.size, scenarios))
    for row, asset in enumerate(book.balance_asset):
        price = float(frame.asset_usd_or_one[asset])
        if book.balance_amount[row]:
            grown = _factor(frame, place, move, int(asset)) - 1.0
            coin[row] = -book.balance_amount[row] * price * grown
    return position_loss, coin


def _factor(frame: Frame, place: dict[str, int], move: Floats, asset: int) -> Floats:
    """Price of an asset afterwards as a multiple of today's, by scenario."""
    name = frame.book.registry.assets[int(frame.follow[asset])]
    if name in place:
        return np.asarray(1.0 + move[place[name]])
    return np.ones(move.shape[1])


def compare(
    account: AccountFile,
    snapshot: Snapshot,
    rulesets: Sequence[Ruleset],
    *,
    at_ns: int | None = None,
    model: TailModel | None = None,
) -> list[ComparisonRow]:
    """Put one account under several rule-sets; a refusal is an answer, and the rest go on."""
    market = snapshot if at_ns is None else snapshot.at(at_ns)
    rows = []
    for ruleset in rulesets:
        try:
            made = make_statement(account, snapshot, ruleset, at_ns=at_ns)
            done = evaluate(book_from_accounts([account]), market, ruleset)
            rows.append(
                ComparisonRow(
                    ruleset=ruleset.id, statement=made, tail=tail_cost(done, market, model)
                )
            )
        except CrossmarginError as error:
            rows.append(ComparisonRow(ruleset=ruleset.id, error=str(error)))
    return rows
