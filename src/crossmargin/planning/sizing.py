"""How big a position may be: from what may be lost, from volatility, and what margin makes of it.

Each rule gives a quantity; the smallest is the size, and the others are told beside it. The rule
of the stop goes through the engine (:func:`crossmargin.margin.size_for_stop`): a size that would
be liquidated before its stop, or would not pass the pre-trade check, is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import PlanningError
from crossmargin.instruments import parse_instrument
from crossmargin.margin import Ruleset, size_for_stop
from crossmargin.market import Snapshot
from crossmargin.planning._checks import positive, series, square, within

Floats = NDArray[np.float64]


def stop_quantity(
    budget: float, entry: float, stop: float, *, fee_rate: float = 0.0, gap: float = 0.0
) -> float:
    """Return the units whose stop loses a budget, costs of both sides included.

    ``q = budget / (|entry − exit| + fee·(entry + exit))`` with the exit `gap` beyond the stop.
    Source: requirements row A25 (10,000 at 1 %, 50,000 and 48,000: 0.05; with 0.05 % a side
    0.048804).

    Parameters
    ----------
    budget : float
        What may be lost, in the quote currency.
    entry, stop : float
        Prices; a stop below the entry belongs to a long.
    fee_rate : float
        Of notional, paid at entry and exit.
    gap : float
        Fraction of the stop's price by which the exit may be worse.
    """
    positive(budget=budget, entry=entry, stop=stop)
    within(0.0, 0.99, fee_rate=fee_rate, gap=gap)
    if entry == stop:
        raise PlanningError("the stop is the entry", code="PLN-003", field="stop")
    exit_ = stop * (1.0 - gap) if stop < entry else stop * (1.0 + gap)
    return budget / (abs(entry - exit_) + fee_rate * (entry + exit_))


def average_true_range(
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    periods: int = 14,
    *,
    first: Literal["range", "skip"] = "range",
) -> Floats:
    """Return Wilder's average true range after each period; NaN before the first full one.

    ``TR = max(high − low, |high − close₋₁|, |low − close₋₁|)``, then the mean of the first n and
    ``ATR = ((n−1)·ATR₋₁ + TR)/n``. Source: Wilder (1978) as given in clearing-practice §4.2.

    Parameters
    ----------
    high, low, close : array_like
        Of each bar, one currency.
    periods : int
        n.
    first : {"range", "skip"}
        The first bar has no close before it: it counts with high − low, as in StockCharts'
        published worksheet, or not at all, as in TA-Lib (the first value then comes a bar later).
        Who is meant by the source is not said there (house).
    """
    up, down = series(high, "high", 2), series(low, "low", 2)
    last = series(close, "close", 2)
    if not up.size == down.size == last.size or (up < down).any():
        raise PlanningError(
            "high, low and close are of one length, and a high is at least its low",
            code="PLN-001",
            field="high",
        )
    if not 1 <= periods <= up.size - (first == "skip"):
        raise PlanningError(
            f"{periods} periods of {up.size} bars", code="PLN-001", field="periods",
            hint="no more periods than bars, at least 1",
        )  # fmt: skip
    before = np.concatenate([last[:1], last[:-1]])
    true = np.maximum(up, before) - np.minimum(down, before)
    true[0] = up[0] - down[0]
    start = int(first == "skip")
    out = np.full(up.size, np.nan)
    out[start + periods - 1] = true[start : start + periods].mean()
    for t in range(start + periods, up.size):
        out[t] = ((periods - 1) * out[t - 1] + true[t]) / periods
    return out


def atr_quantity(budget: float, atr: float, multiple: float) -> float:
    """Return ``budget / (k·ATR)``: the stop stands k true ranges away."""
    positive(budget=budget, atr=atr, multiple=multiple)
    return budget / (multiple * atr)


def volatility_quantity(equity: float, price: float, vol: float, target: float) -> float:
    """Return the units at which the position's volatility is a target share of equity.

    ``q = E·σ*/(σ·P)``, both σ over the same time. Source: Moreira and Muir (2017) as given in
    clearing-practice §4.2; requirements row A14 (20 % over 40 %: exposure halved).
    """
    positive(equity=equity, price=price, vol=vol, target=target)
    return equity * target / (vol * price)


def kelly_weights(mean: ArrayLike, covariance: ArrayLike, *, fraction: float = 0.5) -> Floats:
    """Return ``fraction · Σ⁻¹(μ − r)``: notional over equity of each asset.

    Source: clearing-practice §4.2. A ceiling, never a target: estimates of μ are poor, which is why
    a half or a quarter is used.

    Parameters
    ----------
    mean : array_like
        Excess returns.
    covariance : array_like
        Over the same time.
    fraction : float
        0 to 1.
    """
    m = series(mean, "mean")
    c = square(covariance, "covariance", m.size)
    within(0.0, 1.0, fraction=fraction)
    try:
        np.linalg.cholesky(c)
    except np.linalg.LinAlgError:
        raise PlanningError(
            "the covariance is not positive definite, so that some bet has no risk",
            code="PLN-001",
            field="covariance",
            hint="shrink it, or leave one of two equal assets out",
        ) from None
    return np.asarray(fraction * np.linalg.solve(c, m))


def kelly_binary(chance: float, payoff: float, *, fraction: float = 0.5) -> float:
    """Return the share of equity to put at risk: ``fraction · (p − (1−p)/b)``, at least 0.

    Parameters
    ----------
    chance : float
        p of winning.
    payoff : float
        b: what is won for each unit at risk.
    fraction : float
        0 to 1.
    """
    within(0.0, 1.0, chance=chance, fraction=fraction)
    positive(payoff=payoff)
    return max(fraction * (chance - (1.0 - chance) / payoff), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSize:
    """What one rule allows.

    Attributes
    ----------
    rule : str
        Its name.
    quantity : float
        Units.
    why : str
        In words.
    at_least : bool
        Whether more was not looked at, because the budget allows no more.
    """

    rule: str
    quantity: float
    why: str
    at_least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePlan:
    """A size, and what bounds it.

    Attributes
    ----------
    instrument : str
    side : str
        ``buy`` or ``sell``.
    quantity : float
        Units.
    binding : str
        Name of the rule that gives it.
    limits : tuple of RuleSize
        All rules, the tightest first.
    loss_at_stop_usd : float
        Of `quantity`, with gap and costs.
    notional_usd : float
        Of `quantity` at the entry.
    liquidated_first : bool
        Whether the size of the budget alone would have been liquidated before its stop.
    """

    instrument: str
    side: str
    quantity: float
    binding: str
    limits: tuple[RuleSize, ...]
    loss_at_stop_usd: float
    notional_usd: float
    liquidated_first: bool


def size_position(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    instrument: str,
    *,
    entry: float,
    stop: float,
    budget_usd: float,
    equity_usd: float,
    fee_rate: float = 0.0,
    gap: float = 0.0,
    atr: float | None = None,
    atr_multiple: float = 2.0,
    vol: float | None = None,
    vol_target: float | None = None,
    kelly: float | None = None,
    pool: str = "cross",
    lot: float | None = None,
) -> SizePlan:
    """Size a future or perpetual: the smallest of what every rule allows.

    Parameters
    ----------
    account, snapshot, ruleset
        The account now.
    instrument : str
        A future or perpetual.
    entry, stop : float
        Prices in the quote currency.
    budget_usd : float
        What the trade may lose at its stop.
    equity_usd : float
        For volatility and Kelly.
    fee_rate, gap : float
        See :func:`stop_quantity`.
    atr, atr_multiple : float
        True range in the quote currency, and how many of them the stop is meant to stand away.
    vol, vol_target : float, optional
        Both over the same time, decimals; both or none.
    kelly : float, optional
        Ceiling of notional over equity.
    pool, lot
        See :func:`crossmargin.margin.size_for_stop`.
    """
    positive(equity_usd=equity_usd, atr=atr, atr_multiple=atr_multiple, kelly=kelly)
    within(0.0, 0.99, gap=gap)
    # The stop's price is where the engine must still stand; a gap only makes each unit dearer.
    beyond = stop * (1.0 - gap) if stop < entry else stop * (1.0 + gap)
    positive(lot=lot)
    found = size_for_stop(
        account, snapshot, ruleset, instrument, entry=entry, stop=beyond, budget_usd=budget_usd,
        fee_rate=fee_rate, pool=pool, lot=lot,
    )  # fmt: skip
    unit_loss = budget_usd / found.by_budget if found.by_budget > 0 else math.inf
    per_unit = _notional(snapshot, instrument, entry)
    limits = [
        RuleSize(
            rule="stop",
            quantity=found.by_budget,
            why=f"{budget_usd:,.2f} USD are lost at {beyond:,.10g}, costs included",
        ),
        RuleSize(
            rule="initial margin", quantity=found.by_margin,
            why="the largest order that passes the pre-trade check",
            at_least=found.by_margin >= found.by_budget,
        ),
        RuleSize(
            rule="liquidation", quantity=found.by_liquidation,
            why=f"the account stands above maintenance margin all the way to {beyond:,.10g}",
            at_least=found.by_liquidation >= found.by_budget,
        ),
    ]  # fmt: skip
    if atr is not None:
        reach = entry - atr_multiple * atr if stop < entry else entry + atr_multiple * atr
        lost = _move_usd(snapshot, instrument, entry, max(reach, 1e-9 * entry))
        limits.append(
            RuleSize(
                rule="true range", quantity=budget_usd / lost,
                why=f"a move of {atr_multiple:g} true ranges loses the budget",
            )
        )  # fmt: skip
    if vol is not None and vol_target is not None:
        limits.append(
            RuleSize(
                rule="volatility",
                quantity=volatility_quantity(equity_usd, per_unit, vol, vol_target),
                why=f"its volatility is {100 * vol_target:.2f} % of equity",
            )
        )
    elif vol is not None or vol_target is not None:
        raise PlanningError(
            "volatility and its target belong together", code="PLN-003", field="vol",
            hint="give both over the same time, or none",
        )  # fmt: skip
    if kelly is not None:
        limits.append(
            RuleSize(
                rule="Kelly ceiling", quantity=kelly * equity_usd / per_unit,
                why=f"notional at most {kelly:g} times equity",
            )
        )  # fmt: skip
    limits = [_rounded(limit, lot) for limit in limits]
    limits.sort(key=lambda limit: limit.quantity)
    first = limits[0]
    return SizePlan(
        instrument=found.instrument,
        side=found.side,
        quantity=first.quantity,
        binding=first.rule,
        limits=tuple(limits),
        loss_at_stop_usd=first.quantity * unit_loss if first.quantity else 0.0,
        notional_usd=first.quantity * per_unit,
        liquidated_first=found.by_liquidation < found.by_budget,
    )


def _notional(snapshot: Snapshot, instrument: str, entry: float) -> float:
    """Return the US dollars of one unit at the entry price."""
    item = parse_instrument(instrument)
    if item.inverse:
        # An inverse contract is a fixed number of quote units whatever the price.
        return item.contract_size
    return item.contract_size * entry * snapshot.asset_usd(item.settlement)


def _move_usd(snapshot: Snapshot, instrument: str, entry: float, there: float) -> float:
    """Return what one unit loses from the entry to another price, paid at that price."""
    item = parse_instrument(instrument)
    if item.inverse:
        return item.contract_size * abs(1.0 / there - 1.0 / entry) * there
    return item.contract_size * abs(entry - there) * snapshot.asset_usd(item.settlement)


def _rounded(limit: RuleSize, lot: float | None) -> RuleSize:
    if lot is None:
        return limit
    down = math.floor(limit.quantity / lot * (1.0 + 1e-12)) * lot
    return replace(limit, quantity=max(down, 0.0))
