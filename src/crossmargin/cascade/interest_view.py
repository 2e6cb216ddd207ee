"""Open interest and leverage of everybody at one moment: who holds it, what would absorb it.

Source: requirements rows A09 (leverage, drift, return to a target, concentration, overlap, score),
A21 (open interest = Σ long = Σ short) and B18 (open interest against depth and capital, in both
directions). The sums are algebra; how a recorded part of a venue stands for it is said in the
limits of docs/models/open-interest.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import number, numbers, together
from crossmargin.cascade.leverage import (
    Concentration,
    SystemicScore,
    concentration,
    crowding,
    leverage,
    liquidity_ratio,
    systemic_score,
)

Floats = NDArray[np.float64]

#: A depth from here on is none that is known.
_BOUNDLESS = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractInterest:
    """Open interest of one contract, US dollars.

    Attributes
    ----------
    contract : str
    longs, shorts : float
        Of the accounts seen, at the mark. A whole venue has as much of one as of the other.
    interest : float
        The larger of the two: at least so much is open.
    holders_long, holders_short : int
    top_long, top_short : float
        Share of the largest holder of each side.
    depth : float
        D: notional whose sale moves price by 100 % under linear impact.
    interest_over_depth, depth_over_interest : float
        Fragile where the first is high, and where the second is low; their product is 1.
    fragile : bool
        Whether the first is above the limit.
    """

    contract: str
    longs: float
    shorts: float
    interest: float
    holders_long: int
    holders_short: int
    top_long: float
    top_short: float
    depth: float
    interest_over_depth: float
    depth_over_interest: float
    fragile: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverageAfter:
    """Leverage of everybody after a move of all assets, nothing closed.

    Attributes
    ----------
    move : float
    leverage : float
        Σ|n|·(1 + r) / Σ equity(r); infinite where nothing is left of the equity.
    sold : float
        US dollars of longs and shorts that are closed if every account whose leverage rose
        returns to that of before.
    sold_share : float
        Of the gross notional before the move.
    under_water : int
        Accounts without equity after the move; they close everything.
    """

    move: float
    leverage: float
    sold: float
    sold_share: float
    under_water: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InterestView:
    """Outcome of :func:`interest_view`; US dollars.

    Attributes
    ----------
    contracts : tuple of ContractInterest
        The largest first.
    interest, gross, equity : float
        Sums over contracts, positions and accounts.
    depth, interest_with_depth : float
        Of contracts whose depth is known.
    accounts : int
        With a position.
    leverage : float
    drift : tuple of LeverageAfter
    concentration : Concentration
        Of gross notional by account.
    overlap : float
    score : SystemicScore
    interest_over_capital, capital_over_interest : float or None
        Against settlement capital, where it is given.
    """

    contracts: tuple[ContractInterest, ...]
    interest: float
    gross: float
    equity: float
    depth: float
    interest_with_depth: float
    accounts: int
    leverage: float
    drift: tuple[LeverageAfter, ...]
    concentration: Concentration
    overlap: float
    score: SystemicScore
    interest_over_capital: float | None
    capital_over_interest: float | None


def interest_view(
    names: Sequence[str],
    notional: Any,
    gained: Any,
    equity: ArrayLike,
    depth: ArrayLike,
    *,
    moves: Sequence[float] = (-0.2, -0.1, 0.1, 0.2),
    capital: float | None = None,
    limit: float = 1.0,
) -> InterestView:
    """Take the open interest of everybody apart.

    Parameters
    ----------
    names : sequence of str
        K contracts.
    notional : array_like or sparse [A, K]
        Signed, US dollars.
    gained : array_like or sparse [A, J]
        Change of equity for each asset moving by its own size, US dollars; the first K assets
        are those of the contracts.
    equity : array_like [A]
        US dollars.
    depth : array_like [K]
        D, US dollars, above 0; infinite (or 1e300 and more) where it is not known.
    moves : sequence of float
        Moves of all assets, above −1.
    capital : float, optional
        Settlement capital, US dollars, above 0.
    limit : float
        Open interest per dollar of depth above which a contract is called fragile; judgement.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a figure that cannot be.
    """
    from scipy.sparse import csr_matrix

    n = csr_matrix(notional)
    held = numbers("equity", equity)
    d = numbers("depth", depth, above=0.0, finite=False)
    d = np.where(d >= _BOUNDLESS, np.inf, d)
    slopes = np.asarray(csr_matrix(gained).sum(axis=1)).ravel()
    gross = np.asarray(abs(n).sum(axis=1)).ravel()
    spread, overlap = concentration(gross), crowding(n, np.minimum(d, _BOUNDLESS))
    level = leverage(gross, held)
    lines = _contracts(names, n, d, number("limit", limit, above=0.0))
    whole = sum(line.interest for line in lines)
    against = None if capital is None else liquidity_ratio(whole, number("capital", capital,
                                                                         above=0.0))  # fmt: skip
    known = np.isfinite(d)
    return InterestView(
        contracts=tuple(sorted(lines, key=lambda line: (-line.interest, line.contract))),
        interest=whole,
        gross=float(gross.sum()),
        equity=float(held.sum()),
        depth=float(d[known].sum()),
        interest_with_depth=sum(line.interest for line in lines if math.isfinite(line.depth)),
        accounts=int((gross > 0).sum()),
        leverage=level,
        drift=tuple(leverage_after(gross, slopes, held, move) for move in moves),
        concentration=spread,
        overlap=overlap,
        score=systemic_score(level, spread.herfindahl, overlap),
        interest_over_capital=None if against is None else float(against.interest_over_depth),
        capital_over_interest=None if against is None else float(against.depth_over_interest),
    )


def leverage_after(
    gross: ArrayLike, gained: ArrayLike, equity: ArrayLike, move: float
) -> LeverageAfter:
    """Move all assets, close nothing, then let every account return to the leverage it had.

    An account of gross notional G, slope s and equity E has ``G(1 + r)`` and ``E + s·r``
    afterwards; it closes ``G(1 + r) − (G/E)(E + s·r)`` where that is above 0, at most all. For
    longs alone (s = G) this is row A09: Λ₀ = 5 and −10 % give Λ = 9, and 2.0 of 5.0 are sold.

    Parameters
    ----------
    gross, gained, equity : array_like [A]
        US dollars; `gained` is the change of equity for a move of 1.
    move : float
        r, above −1.
    """
    g, s, e = together(
        gross=numbers("gross", gross, least=0.0),
        gained=numbers("gained", gained),
        equity=numbers("equity", equity),
    )
    r = number("move", move, above=-1.0)
    after, left = g * (1.0 + r), e + s * r
    # Who had nothing to begin with has no leverage to return to, and is not counted as a seller.
    alive = (e > 0) & (g > 0)
    target = np.divide(g, e, out=np.zeros_like(g), where=alive)
    sold = np.where(alive, np.clip(after - target * np.maximum(left, 0.0), 0.0, after), 0.0)
    before = float(g.sum())
    return LeverageAfter(
        move=r,
        leverage=leverage(after, left),
        sold=float(sold.sum()),
        sold_share=float(sold.sum()) / before if before else 0.0,
        under_water=int((alive & (left <= 0)).sum()),
    )


def _contracts(
    names: Sequence[str], notional: Any, depth: Floats, limit: float
) -> list[ContractInterest]:
    by = notional.tocsc()
    found = []
    for k, name in enumerate(names):
        mine = np.asarray(by.data[by.indptr[k] : by.indptr[k + 1]], dtype=np.float64)
        longs, shorts = mine[mine > 0], -mine[mine < 0]
        if not (longs.size or shorts.size):
            continue
        interest = max(float(longs.sum()), float(shorts.sum()))
        against = liquidity_ratio(interest, min(depth[k], _BOUNDLESS), limit=limit)
        found.append(
            ContractInterest(
                contract=name,
                longs=float(longs.sum()),
                shorts=float(shorts.sum()),
                interest=interest,
                holders_long=int(longs.size),
                holders_short=int(shorts.size),
                top_long=float(longs.max() / longs.sum()) if longs.size else 0.0,
                top_short=float(shorts.max() / shorts.sum()) if shorts.size else 0.0,
                depth=float(depth[k]),
                interest_over_depth=float(against.interest_over_depth),
                depth_over_interest=float(against.depth_over_interest),
                fragile=bool(against.alert_high),
            )
        )
    return found
