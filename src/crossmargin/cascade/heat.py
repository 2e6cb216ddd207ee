"""Where positions wait to be liquidated, and where and when they were: price against time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade.population import Population
from crossmargin.cascade.result import CascadeResult
from crossmargin.cascade.triggers import common_triggers

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """Liquidations of one contract by price and time.

    Attributes
    ----------
    contract : str
        Which.
    minutes : float64[C + 1]
        Edges of columns.
    path : float64[C + 1]
        Price at these moments, US dollars.
    edges : float64[R + 1]
        Prices between rows, rising.
    closed : float64[R, C]
        US dollars closed by force while the price was there.
    standing : float64[R]
        US dollars held by accounts whose line lay there at the start, had all prices moved along
        the news' direction: longs below the mark, shorts above.
    gain : float64[R]
        Local loop gain ``g(p) = λ·ℓ(p)``: coins per US dollar of price whose holders have their
        line there, times the slope ``λ = p²/D`` of the calm book.
    """

    contract: str
    minutes: Floats
    path: Floats
    edges: Floats
    closed: Floats
    standing: Floats
    gain: Floats

    @property
    def band(self) -> tuple[float, float] | None:
        """Lowest and highest price with a gain above 1, or None."""
        hot = np.flatnonzero(self.gain > 1.0)
        if not hot.size:
            return None
        return float(self.edges[hot[0]]), float(self.edges[hot[-1] + 1])


def heat(
    people: Population,
    run: CascadeResult,
    contract: int,
    *,
    rows: int = 40,
    columns: int = 60,
) -> Heat:
    """Map the liquidations of one contract.

    Parameters
    ----------
    people : Population
        At the start.
    run : CascadeResult
        What happened.
    contract : int
        Which.
    rows, columns : int
        Of the map, at most.

    Notes
    -----
    Source: cascades.md §1.2, threshold form ``g(p) = λ·ℓ(p)`` (computed there); that each account
    closes whole at its line is an upper end where it closes in parts (house). The direction is
    that of the news: of each asset, its move to its own extreme over the contract's.
    """
    price = run.price[:, contract]
    news = _direction(run, contract)
    span = max(float(price.max() / price[0] - 1.0), 0.02), min(float(price.min() / price[0]), 0.98)
    low, high = span[1] - 0.25 * (1.0 - span[1]), 1.0 + max(span[0], 0.25 * (1.0 - span[1])) + 1e-9
    edges = price[0] * np.linspace(max(low, 0.01), high, rows + 1)
    mine = people.contract == contract
    coins = np.bincount(people.account[mine], np.abs(people.quantity[mine]), minlength=people.size)
    trigger = price[0] * (1.0 + common_triggers(people, news))
    there = np.isfinite(trigger) & (coins > 0)
    waiting = np.histogram(trigger[there], bins=edges, weights=coins[there])[0]
    middle = 0.5 * (edges[1:] + edges[:-1])
    slope = middle**2 / run.depth[0, contract]
    gain = slope * waiting / np.diff(edges)
    steps = run.rounds.size
    cuts = np.unique(np.linspace(0, steps, min(columns, steps) + 1).round().astype(np.int64))
    closed = np.zeros((edges.size - 1, cuts.size - 1))
    forced = run.sold[:, contract] + run.bought[:, contract]
    for t in np.flatnonzero(forced > 0).tolist():
        a, b = sorted((float(price[t]), float(price[t + 1])))
        share = np.clip(np.minimum(edges[1:], b) - np.maximum(edges[:-1], a), 0.0, None)
        if share.sum() <= 0.0:
            row = int(np.clip(np.searchsorted(edges, b, side="right") - 1, 0, edges.size - 2))
            share[row] = 1.0
        column = int(np.searchsorted(cuts, t, side="right") - 1)
        closed[:, column] += forced[t] * share / share.sum()
    minutes = (run.times_ns - run.times_ns[0]) / 60e9
    return Heat(
        contract=people.contracts[contract],
        minutes=np.asarray(minutes[cuts], dtype=np.float64),
        path=np.asarray(price[cuts], dtype=np.float64),
        edges=edges,
        closed=closed,
        standing=np.asarray(waiting * middle, dtype=np.float64),
        gain=np.asarray(gain, dtype=np.float64),
    )


def _direction(run: CascadeResult, contract: int) -> Floats:
    """Return how far each asset's news goes for each unit of the contract's, all alike if none."""
    moves = run.exogenous / run.exogenous[0] - 1.0
    at = int(np.abs(moves[:, contract]).argmax())
    lead = float(moves[at, contract])
    if lead == 0.0:
        return np.ones(moves.shape[1])
    return np.asarray(moves[at] / lead, dtype=np.float64)


def news_gain(people: Population, depth_usd: Floats, news: Floats) -> float:
    """Return the gain of the accounts whose line lies within the news, averaged over its way.

    Accounts that the news reaches close whole; what they sell moves prices by
    ``s_k = S_k/D_k``. A further move r brings ``s·(r·n)/(n·n)`` of that along the news n, a matrix
    of rank one whose spectral radius is

        ρ = s·n/(n·n),          for one contract ``λ·ℓ`` with ℓ averaged over the fall.

    At 1 the news' own way is run through a second time without further news. Source: threshold
    form ``g(p) = λ·ℓ(p)`` of cascades.md §1.2 (computed there); its average along a direction of
    several assets is ours (house). Depth is that of the calm book, so that in a book that thins
    out cascades begin below 1.

    Parameters
    ----------
    people : Population
        At the start.
    depth_usd : float64[K]
        D.
    news : float64[J]
        Relative move of each asset, for example at the lowest point of a script.

    Returns
    -------
    float
        Below 0 where those who are reached buy on balance; 0 where the news moves no contract.
    """
    triggers = common_triggers(people, news)
    reached = np.nan_to_num(triggers, nan=-1.0)
    hit = ((reached >= 0.0) & (reached <= 1.0))[people.account]
    k = len(people.contracts)
    value = people.quantity * people.price[people.contract] * hit
    sold = np.bincount(people.contract, value, minlength=k)
    along = float(news[:k] @ news[:k])
    return float((-sold / depth_usd) @ news[:k]) / along if along > 0.0 else 0.0
