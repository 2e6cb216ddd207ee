"""What a run of the simulation comes to: one flat row of figures that runs are compared by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.population import Population
from crossmargin.cascade.result import CascadeResult
from crossmargin.liquidation import gini
from crossmargin.stats import expected_shortfall, value_at_risk

Floats = NDArray[np.float64]

#: A burst: so large a part of the steps, those with most liquidations.
_BURST = 0.05


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one run; money in US dollars, shares from 0 to 1, None where there is none.

    Attributes
    ----------
    drop, news_drop : float
        Lowest price of the lead asset over its first, less 1: as it went, and without anybody's
        sales. At most 0.
    amplification : float or None
        ``drop / news_drop``; None where the news alone did not fall.
    end_move : float
        Price of the lead asset at the end over its first, less 1.
    oi_drop : float
        Open interest in coins, at starting prices, over that at the start, less 1.
    liquidated_usd, adl_usd : float
        Notional closed by force in the market, and against holders.
    adl_share : float
        Of everything closed by force.
    one_sided : float or None
        Share of forced closes in the market that were longs.
    burst : float or None
        Share of liquidations in the twentieth of the steps with most of them.
    accounts, people : int
        Accounts of which anything was closed by force, and their owners.
    account_share : float
        Of all accounts.
    first_liquidation_s, first_adl_s : float or None
        Seconds from the start.
    adl_lag_s : float or None
        From the first liquidation to the first deleveraging.
    deficit_usd : float
        Loss beyond accounts' own money: what all layers bore, and what none did.
    fund_usd, backstop_usd, adl_loss_usd, socialised_usd, bad_debt_usd : float
        What each layer bore of it: the fund net of fees paid in, the backstop where it lost. Below
        0 for holders who were closed at a better price than the mark; that covers nothing.
    fund_end_usd : float
        Left in the fund.
    fund_exhausted : bool
        Whether it could not bear all: something was left to the layers below it.
    two_largest_usd : float
        The two largest shortfalls of any people at the lead's lowest price, had nobody been closed
        on the way: what "cover 2" would have to cover.
    adl_gini : float or None
        Of the notional closed in deleveraging, over winners; None without any.
    adl_overshoot : float or None
        Profit taken from holders over the loss that had to be borne (1: none too much).
    max_haircut : float or None
        The largest part of one account's profit that deleveraging took.
    winners_kept : float
        Part of winners' profit that they kept.
    depth_low : float
        Least depth of the lead contract over its first.
    funding_low, funding_high : float
        Extreme funding rates of the lead contract.
    leverage_start, leverage_end : float
        Gross notional over equity, everybody together.
    rounds : int
        Liquidation rounds in all.
    conservation : float
        Largest relative error of any law of conservation.
    """

    drop: float
    news_drop: float
    amplification: float | None
    end_move: float
    oi_drop: float
    liquidated_usd: float
    adl_usd: float
    adl_share: float
    one_sided: float | None
    burst: float | None
    accounts: int
    people: int
    account_share: float
    first_liquidation_s: float | None
    first_adl_s: float | None
    adl_lag_s: float | None
    deficit_usd: float
    fund_usd: float
    backstop_usd: float
    adl_loss_usd: float
    socialised_usd: float
    bad_debt_usd: float
    fund_end_usd: float
    fund_exhausted: bool
    two_largest_usd: float
    adl_gini: float | None
    adl_overshoot: float | None
    max_haircut: float | None
    winners_kept: float
    depth_low: float
    funding_low: float
    funding_high: float
    leverage_start: float
    leverage_end: float
    rounds: int
    conservation: float


def outcome(people: Population, run: CascadeResult, lead: int = 0) -> Outcome:
    """Work out the figures of one run.

    Parameters
    ----------
    people : Population
        That was simulated.
    run : CascadeResult
        What happened.
    lead : int
        Asset whose price is looked at, and contract whose depth and funding are.
    """
    k = len(people.contracts)
    lead_contract = min(lead, k - 1)
    price, news = run.price[:, lead], run.exogenous[:, lead]
    drop = float(price.min() / price[0] - 1.0)
    news_drop = float(news.min() / news[0] - 1.0)
    forced = run.sold + run.bought
    total, longs = float(forced.sum()), float(run.sold.sum())
    seconds = (run.times_ns - run.times_ns[0]) / 1e9
    first = _first(forced.sum(axis=1), seconds)
    first_adl = _first(run.adl.sum(axis=1), seconds)
    value = run.open_interest @ run.price[0, :k]
    adl_loss, shared = float(run.adl_loss.sum()), float(run.socialised.sum())
    bad = float(run.bad_debt.sum())
    fund = max(0.0, float(run.fund[0] + run.fees.sum() - run.fund[-1]))
    backstop = max(0.0, -float(run.backstop[-1] - run.backstop[0]))
    burden = burdens(people, run)
    owner = np.arange(people.size) if people.owner is None else people.owner
    return Outcome(
        drop=drop,
        news_drop=news_drop,
        amplification=drop / news_drop if news_drop < 0 else None,
        end_move=float(price[-1] / price[0] - 1.0),
        oi_drop=float(value[-1] / value[0] - 1.0) if value[0] > 0 else 0.0,
        liquidated_usd=total,
        adl_usd=float(run.adl.sum()),
        adl_share=run.adl_share,
        one_sided=longs / total if total > 0 else None,
        burst=_burst(forced.sum(axis=1)),
        accounts=int(run.hit.sum()),
        people=int(np.unique(owner[run.hit]).size),
        account_share=float(run.hit.mean()),
        first_liquidation_s=first,
        first_adl_s=first_adl,
        adl_lag_s=None if first is None or first_adl is None else first_adl - first,
        deficit_usd=fund + backstop + max(adl_loss, 0.0) + shared + bad,
        fund_usd=fund,
        backstop_usd=backstop,
        adl_loss_usd=adl_loss,
        socialised_usd=shared,
        bad_debt_usd=bad,
        fund_end_usd=float(run.fund[-1]),
        fund_exhausted=adl_loss + shared + bad > 0,
        two_largest_usd=two_largest(people, run.price[int(price.argmin())]),
        adl_gini=burden.gini,
        adl_overshoot=float(burden.forgone.sum()) / adl_loss if adl_loss > 0 else None,
        max_haircut=burden.largest,
        winners_kept=burden.kept,
        depth_low=float(run.depth[:, lead_contract].min() / run.depth[0, lead_contract]),
        funding_low=float(run.funding_rate[:, lead_contract].min()),
        funding_high=float(run.funding_rate[:, lead_contract].max()),
        leverage_start=float(run.leverage[0]),
        leverage_end=float(run.leverage[-1]),
        rounds=int(run.rounds.sum()),
        conservation=run.conservation,
    )


def two_largest(people: Population, price: Floats) -> float:
    """Return the two largest shortfalls of people at some prices together, US dollars.

    What each owner's pots owe beyond what is in them, positions held as they were. Source: cover 2
    of PFMI principle 4 (clearing-practice §1.8, published); that a person is a participant is ours
    (house).

    Parameters
    ----------
    people : Population
        At the start.
    price : float64[J]
        Stressed prices.
    """
    owner = np.arange(people.size) if people.owner is None else people.owner
    owed = np.bincount(owner, np.maximum(-people.equity(price), 0.0))
    return float(np.sort(owed)[::-1][:2].sum())


class Burdens(msgspec.Struct, frozen=True, kw_only=True):
    """Who gave up what in deleveraging.

    Attributes
    ----------
    closed : float64[W]
        Notional of each winner closed against a bankrupt position, at starting prices, US dollars.
    forgone : float64[W]
        What each winner gave up against the mark, US dollars, at least 0.
    profit : float64[W]
        What each would have won with it, above 0.
    gini : float or None
        Of `closed` over winners; None where nobody was closed.
    largest : float or None
        Largest ``forgone / profit``, at most 1.
    kept : float
        Part of all profit that was kept.
    """

    closed: Floats
    forgone: Floats
    profit: Floats
    gini: float | None
    largest: float | None
    kept: float


def burdens(people: Population, run: CascadeResult) -> Burdens:
    """Work out what deleveraging took from those who had won.

    A winner is an account whose equity, with what it gave up added back, ended above where it
    began. Source: Chitra, arXiv 2512.01112 (cascades.md §3.3: overshoot, largest haircut, Gini,
    profit kept; published), on accounts as the simulation closes them (house).
    """
    forgone = np.maximum(run.adl_forgone, 0.0)
    gain = run.equity + run.adl_forgone - people.equity()
    won = gain > 0.0
    gave, profit = np.minimum(forgone[won], gain[won]), gain[won]
    whole, given = float(profit.sum()), float(gave.sum())
    notional = run.adl_closed * np.abs(people.quantity) * people.price[people.contract]
    closed = np.bincount(people.account, notional, minlength=people.size)[won].astype(np.float64)
    return Burdens(
        closed=closed,
        forgone=forgone[won],
        profit=profit,
        gini=gini(closed) if closed.sum() > 0 else None,
        largest=float((gave / profit).max()) if given > 0 else None,
        kept=1.0 - given / whole if whole > 0 else 1.0,
    )


def _burst(volume: Floats, window: float = _BURST) -> float | None:
    total = float(volume.sum())
    if total <= 0:
        return None
    most = max(1, math.floor(volume.size * window + 1e-9))
    return float(np.sort(volume)[::-1][:most].sum() / total)


def _first(volume: Floats, seconds: Floats) -> float | None:
    """Return the end of the first step with anything in it."""
    at = np.flatnonzero(volume > 0)
    return float(seconds[at[0] + 1]) if at.size else None


def lorenz(burden: Floats, points: int = 101) -> list[float]:
    """Return the Lorenz curve of a burden at even shares of its holders, 0 to 1.

    Parameters
    ----------
    burden : float64[n]
        At least 0 each; those who bear nothing count.
    points : int
        How many, both ends among them.

    Returns
    -------
    list of float
        Share borne by the least burdened part; empty where nothing is borne.
    """
    total = float(burden.sum())
    if total <= 0.0:
        return []
    held = np.concatenate([[0.0], np.cumsum(np.sort(burden)) / total])
    at = np.linspace(0.0, 1.0, points)
    return [float(x) for x in np.interp(at, np.linspace(0.0, 1.0, held.size), held)]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of many runs.

    Attributes
    ----------
    runs : int
        How many.
    mean : dict of str to float
        Of each figure, over the runs that have it.
    median, low, high : dict of str to float
        Quantiles: the middle, and the fifth and ninety-fifth of a hundred.
    var_usd, lar_usd : float
        95th percentile of the loss that no account's money covered (VaR), and of the notional
        closed by force (LaR).
    es_usd : float
        Mean of the worst twentieth of that loss.
    p_exhausted, p_bad_debt, p_adl : float
        Share of runs in which the fund was used up, a loss was left, holders were closed.
    """

    runs: int
    mean: dict[str, float]
    median: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    var_usd: float
    lar_usd: float
    es_usd: float
    p_exhausted: float
    p_bad_debt: float
    p_adl: float


def spread(outcomes: Sequence[Outcome], level: float = 0.95) -> Spread:
    """Summarise runs that differ in their seed.

    VaR is the percentile of net insolvent debt and LaR that of liquidated amounts, as the source
    names them. Source: Gauntlet, as given in cascades.md §1.3 (published).

    Parameters
    ----------
    outcomes : sequence of Outcome
        At least one.
    level : float
        Of VaR and LaR.
    """
    columns: dict[str, list[float]] = {}
    for made in outcomes:
        for name in made.__struct_fields__:
            value = getattr(made, name)
            if value is not None:
                columns.setdefault(name, []).append(float(value))
    deficit = [made.deficit_usd for made in outcomes]
    n = len(outcomes)
    return Spread(
        runs=n,
        mean={k: math.fsum(v) / len(v) for k, v in columns.items()},
        median={k: float(np.quantile(v, 0.5)) for k, v in columns.items()},
        low={k: float(np.quantile(v, 0.05)) for k, v in columns.items()},
        high={k: float(np.quantile(v, 0.95)) for k, v in columns.items()},
        var_usd=value_at_risk(deficit, level),
        lar_usd=value_at_risk([m.liquidated_usd + m.adl_usd for m in outcomes], level),
        es_usd=expected_shortfall(deficit, level),
        p_exhausted=sum(m.fund_exhausted for m in outcomes) / n,
        p_bad_debt=sum(m.bad_debt_usd > 0 for m in outcomes) / n,
        p_adl=sum(m.adl_usd > 0 for m in outcomes) / n,
    )
