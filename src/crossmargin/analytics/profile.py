"""Equity against requirement over the price of one underlying."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.margin import Evaluation, equity, fenced_margins, requirement

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PriceProfile:
    """What an account has and needs as one underlying's price moves, all else unmoved.

    Attributes
    ----------
    underlying : str
        The coin that moves.
    price_now_usd : float
        Its index price today.
    price_usd : list of float
        Ascending.
    equity_usd, im_usd, mm_usd : list of float
        Sums over the account's pots; equity at the maintenance level, requirements without open
        orders.
    """

    underlying: str
    price_now_usd: float
    price_usd: list[float]
    equity_usd: list[float]
    im_usd: list[float]
    mm_usd: list[float]


def price_profile(
    done: Evaluation, underlying: str, *, low: float = 0.5, high: float = 1.5, points: int = 101
) -> PriceProfile:
    """Evaluate the account along the price of one underlying.

    Parameters
    ----------
    done : Evaluation
        The evaluated account.
    underlying : str
        A coin it is exposed to.
    low, high : float
        Range as multiples of today's price.
    points : int
        Number of prices, odd so that today's is near the middle.

    Raises
    ------
    MarginError
        ``MRG-001`` when the market has no price of that underlying.

    Notes
    -----
    Where a rule-set refuses (an unpublished charge beyond some size), the point is left out.
    """
    frame = done.frame
    assets = frame.book.registry.assets
    if underlying not in assets:
        raise MarginError(
            f"the account has no exposure to {underlying}", code="MRG-001", field="underlying"
        )
    asset = assets.index(underlying)
    moves = frame.follow == asset
    now = float(frame.view.asset_usd[asset])
    fences = fenced_margins(frame, done.need_orders)
    rows: list[tuple[float, float, float, float]] = []
    for ratio in np.linspace(low, high, points):
        factor = np.where(moves, ratio, 1.0)
        there = frame.shocked(factor)
        try:
            need = requirement(there)
            have = equity(there, need, fences)
        except CrossmarginError:
            continue
        usd = there.pot_usd
        rows.append(
            (now * float(ratio), float(have.mm @ usd), float(need.im @ usd), float(need.mm @ usd))
        )
    columns = [list(column) for column in zip(*rows)] or [[], [], [], []]
    return PriceProfile(underlying, now, *columns)


def profiles(done: Evaluation, **options: float) -> list[PriceProfile]:
    """Return the profile of every underlying that a group of the account stands on."""
    frame = done.frame
    names = [frame.book.registry.assets[u] for u in np.unique(frame.arrangement.group_underlying)]
    return [price_profile(done, name, **options) for name in names]  # type: ignore[arg-type]
