"""One pot or many, on common prices: who is liquidated, what is left, and the tail of a gap.

A pot that falls below its line is closed where it falls there. What is left of it is forfeited to
the venue or returned to the trader; what is missing is the venue's deficit. In a gap there is no
price at the line: the pot is closed beyond it. Trader's loss and deficit add up to the loss of the
position, whatever the pots.

Source: requirements A13 (loss and deficit by mode in a gap, tail of one-jump gaps), A15 (pots
along a common path, remainder forfeited or returned), A00 (liquidations avoided).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import MarginError
from crossmargin.margin import CarriedAccount, Ruleset, close_in
from crossmargin.market import Snapshot
from crossmargin.stats import expected_shortfall, generator

Floats = NDArray[np.float64]

Remainder = Literal["forfeited", "returned"]


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A pot that was closed: where, and what was left of it, US dollars."""

    pot: str
    coin_usd: float
    left_usd: float


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """An account along a path of one coin's price, US dollars.

    Attributes
    ----------
    start_usd, end_usd : float
        Equity at the maintenance level before and after, what was closed at what the trader got.
    closed : list of Closed
        Pots that were closed, in turn.
    survived : bool
        Whether none was.
    """

    start_usd: float
    end_usd: float
    closed: list[Closed]
    survived: bool


def walk_prices(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    coin: str,
    prices_usd: Sequence[float],
    *,
    remainder: Remainder = "returned",
) -> Walk:
    """Take an account along a path of one coin's price, evenly in its logarithm between points.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    coin : str
        Coin that moves.
    prices_usd : sequence of float
        Prices in turn; the path begins at today's.
    remainder : {"forfeited", "returned"}
        What becomes of a closed pot's equity; below 0 it is the venue's loss either way.
    """
    _check(remainder)
    carried = CarriedAccount(account, snapshot, ruleset)
    today = carried.price_usd(coin)
    steps = [0.0, *(_log(price, today) for price in prices_usd)]
    start = _equity(carried, coin, 0.0)
    kept: dict[int, float] = {}
    closed = []

    def excess(step: float) -> Floats:
        values = carried.excess({coin: step})
        values[list(kept)] = np.inf
        return values

    for a, b in itertools.pairwise(steps):
        pieces = np.linspace(a, b, max(2, math.ceil(abs(b - a) / 0.02) + 1))
        at = float(pieces[0])
        for to in pieces[1:].tolist():
            while (beyond := excess(to)).min() < 0:
                pot = int(np.argmin(beyond))
                here = excess(at)

                def value(step: float, pot: int = pot) -> float:
                    return float(carried.excess({coin: step})[pot])

                line = at
                if here[pot] >= 0:
                    found = close_in(value, at, float(here[pot]), to, float(beyond[pot]))
                    line = to if found.dead is None else found.dead
                left = float(_equity(carried, coin, line)[pot])
                kept[pot] = max(0.0, left) if remainder == "returned" else 0.0
                closed.append(
                    Closed(pot=carried.pots[pot], coin_usd=today * math.exp(line), left_usd=left)
                )
            at = to
    end = _equity(carried, coin, steps[-1])
    total = sum(kept.get(pot, float(end[pot])) for pot in range(end.size))
    return Walk(start_usd=float(start.sum()), end_usd=total, closed=closed, survived=not closed)


class GapLoss(msgspec.Struct, frozen=True, kw_only=True):
    """Losses in gaps of one coin's price, US dollars.

    Attributes
    ----------
    trader : list of float
        Loss of the trader, by gap; what is left in a pot that is liquidated is forfeited.
    deficit : list of float
        Loss of the venue, by gap.
    """

    trader: list[float]
    deficit: list[float]


def gap_losses(
    account: AccountFile, snapshot: Snapshot, ruleset: Ruleset, coin: str, prices_usd: ArrayLike
) -> GapLoss:
    """Let one coin's price jump, and say who loses what.

    Parameters
    ----------
    account, snapshot, ruleset, coin
        As for :func:`walk_prices`.
    prices_usd : array_like
        Prices after the gap.
    """
    carried = CarriedAccount(account, snapshot, ruleset)
    today = carried.price_usd(coin)
    prices = np.atleast_1d(np.asarray(prices_usd, dtype=np.float64))
    equity, excess = _at(carried, coin, np.array([_log(p, today) for p in prices.tolist()]))
    trader, deficit = _lost(_equity(carried, coin, 0.0), equity, excess)
    return GapLoss(trader=trader.tolist(), deficit=deficit.tolist())


class GapTail(msgspec.Struct, frozen=True, kw_only=True):
    """Tail of one-jump gaps, US dollars.

    Attributes
    ----------
    cvar_usd : float
        Mean of the trader's worst 1 − confidence losses.
    mean_deficit_usd : float
        Mean loss of the venue.
    p_liquidated : float
        Share of gaps in which a pot is liquidated.
    confidence, sigma : float
        As asked.
    draws, seed, knots : int
        Gaps drawn, seed, and prices at which the account was revalued.
    """

    cvar_usd: float
    mean_deficit_usd: float
    p_liquidated: float
    confidence: float
    sigma: float
    draws: int
    seed: int
    knots: int


def gap_tail(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    coin: str,
    sigma: float,
    *,
    draws: int = 200_000,
    seed: int = 20260203,
    confidence: float = 0.99,
    knots: int = 401,
) -> GapTail:
    """Draw lognormal gaps exp(σz − σ²/2) of one coin and take the tail of the trader's loss.

    The account is revalued at `knots` prices over the range drawn, and equity and excess are
    read between them on a straight line: exact for linear contracts within a bracket.

    Parameters
    ----------
    account, snapshot, ruleset, coin
        As for :func:`walk_prices`.
    sigma : float
        Standard deviation of the logarithm.
    draws, seed, confidence, knots
        Number of gaps, seed, confidence of the tail, and revaluations.
    """
    if not (0 < sigma <= 3 and draws * (1.0 - confidence) >= 1 and knots >= 3):
        raise MarginError(
            f"gaps of σ {sigma:g}, {draws} draws, {knots} knots",
            code="MRG-025",
            field="sigma",
            hint="σ above 0 and at most 3, a draw in the tail, three knots or more",
        )
    rng = generator(seed)
    ratio = np.exp(sigma * rng.standard_normal(draws) - 0.5 * sigma * sigma)
    carried = CarriedAccount(account, snapshot, ruleset)
    grid = np.linspace(float(ratio.min()), float(ratio.max()), knots)
    at_equity, at_excess = _at(carried, coin, np.log(grid))
    pots = at_equity.shape[0]
    equity = np.stack([np.interp(ratio, grid, at_equity[p]) for p in range(pots)])
    finite = np.where(np.isfinite(at_excess), at_excess, 1e300)
    excess = np.stack([np.interp(ratio, grid, finite[p]) for p in range(pots)])
    trader, deficit = _lost(_equity(carried, coin, 0.0), equity, excess)
    return GapTail(
        cvar_usd=expected_shortfall(trader, confidence),
        mean_deficit_usd=float(deficit.mean()),
        p_liquidated=float((excess < 0).any(axis=0).mean()),
        confidence=confidence,
        sigma=sigma,
        draws=draws,
        seed=seed,
        knots=knots,
    )


def _check(remainder: str) -> None:
    if remainder not in ("forfeited", "returned"):
        raise MarginError(
            f"a remainder is forfeited or returned, not {remainder!r}",
            code="MRG-025",
            field="remainder",
        )


def _log(price: float, today: float) -> float:
    if not (math.isfinite(price) and price > 0):
        raise MarginError(
            f"{price:g} is no price", code="MRG-025", field="prices_usd", hint="above 0"
        )
    return math.log(price / today)


def _equity(carried: CarriedAccount, coin: str, step: float) -> Floats:
    there = carried.moved({coin: step})
    return np.asarray(carried.evaluation(there).have.mm * there.pot_usd, dtype=np.float64)


def _at(carried: CarriedAccount, coin: str, steps: Floats) -> tuple[Floats, Floats]:
    """Return equity and excess by pot and step."""
    equity, excess = [], []
    for step in steps.tolist():
        there = carried.moved({coin: step})
        equity.append(carried.evaluation(there).have.mm * there.pot_usd)
        excess.append(carried.excess_of(there))
    return np.stack(equity, axis=1), np.stack(excess, axis=1)


def _lost(start: Floats, equity: Floats, excess: Floats) -> tuple[Floats, Floats]:
    """Return the trader's and the venue's loss by gap; equity and excess by pot and gap."""
    dead = excess < 0
    kept = np.where(dead, 0.0, equity)
    deficit = np.where(dead, np.maximum(-equity, 0.0), 0.0)
    return start.sum() - kept.sum(axis=0), deficit.sum(axis=0)
