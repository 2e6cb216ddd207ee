"""Order books: walking the levels, what it costs to trade a size at once.

Sizes are coins of the underlying and prices the instrument's quote currency per coin. Venues that
count contracts are brought there by :func:`contract_coins` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.errors import MarketDataError

Floats = NDArray[np.float64]
Levels = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Walk:
    """What market orders of some sizes would fill on one side of a book.

    Attributes
    ----------
    filled, unfilled : float64[...]
        Size taken, and what the book does not hold; together the size asked for.
    value : float64[...]
        Sum of price × size over what is filled.
    average, worst : float64[...]
        Average and last price of what is filled; NaN where nothing is.
    """

    filled: Floats
    unfilled: Floats
    value: Floats
    average: Floats
    worst: Floats


def walk_book(price: ArrayLike, size: ArrayLike, quantity: ArrayLike) -> Walk:
    """Fill sizes against the levels of one side, best level first.

    Parameters
    ----------
    price, size : array_like of float [L]
        Levels from the best on, sizes > 0.
    quantity : array_like of float
        Sizes to fill, at least 0, in the unit of `size`; any shape.

    Returns
    -------
    Walk
        In the shape of `quantity`. A book that is too thin fills what it holds and says what is
        left; it is never extended.

    Raises
    ------
    MarketDataError
        ``MKT-041`` when levels or sizes are not finite and positive, or a size is negative.

    Notes
    -----
    Source: requirements row B13 ("book walk equals a hand-summed ladder"); arithmetic of a ladder.
    """
    p, s = np.asarray(price, dtype=np.float64), np.asarray(size, dtype=np.float64)
    q = np.asarray(quantity, dtype=np.float64)
    if p.ndim != 1 or p.shape != s.shape:
        raise MarketDataError("prices and sizes of a book do not fit together", code="MKT-041")
    if not (np.isfinite(p).all() and np.isfinite(s).all() and (p > 0).all() and (s > 0).all()):
        raise MarketDataError(
            "a level of a book has a price or size that is not positive", code="MKT-041"
        )
    if not (np.isfinite(q).all() and (q >= 0).all()):
        raise MarketDataError("a size to fill is not a number of at least 0", code="MKT-041")
    depth = np.concatenate([[0.0], np.cumsum(s)])
    paid = np.concatenate([[0.0], np.cumsum(p * s)])
    filled = np.minimum(q, depth[-1])
    # The level in which the last unit is found; a size that ends a level does not open the next.
    last = np.maximum(np.searchsorted(depth, filled, side="left") - 1, 0)
    some = filled > 0
    value = np.zeros(q.shape)
    worst = np.full(q.shape, np.nan)
    if p.size:
        value = np.where(some, paid[last] + (filled - depth[last]) * p[last], 0.0)
        worst = np.where(some, p[last], np.nan)
    average = np.full(q.shape, np.nan)
    np.divide(value, filled, out=average, where=some)
    return Walk(filled, q - filled, value, average, worst)


def contract_coins(
    price: ArrayLike, contracts: ArrayLike, contract_size: float, *, inverse: bool
) -> Floats:
    """Turn level sizes in contracts into coins.

    Parameters
    ----------
    price, contracts : array_like of float [L]
        Levels as the venue gives them.
    contract_size : float
        Coins per contract (linear), or quote currency per contract (inverse).
    inverse : bool
        Whether a contract is an amount of quote currency: it is then worth
        ``contract_size / price`` coins, level by level.
    """
    count = np.asarray(contracts, dtype=np.float64) * contract_size
    return count / np.asarray(price, dtype=np.float64) if inverse else count


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBook:
    """One moment's book of one instrument.

    Attributes
    ----------
    bids, asks : tuple of (price, size)
        Best first; prices in the quote currency per coin, sizes in coins.
    time_ns : int
        When it was seen.
    source : str
        Who said so.

    Raises
    ------
    MarketDataError
        ``MKT-041`` levels out of order or not positive, ``MKT-010`` crossed.
    """

    bids: Levels
    asks: Levels
    time_ns: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        """Refuse a book that no matching engine can show."""
        for name, levels, sign in (("bids", self.bids, -1.0), ("asks", self.asks, 1.0)):
            table = np.array(levels, dtype=np.float64).reshape(-1, 2)
            if not (np.isfinite(table).all() and (table > 0).all()):
                raise MarketDataError(
                    f"the {name} have a price or size that is not positive",
                    code="MKT-041",
                    field=name,
                    hint="leave empty levels out",
                )
            if np.any(np.diff(table[:, 0]) * sign <= 0):
                raise MarketDataError(
                    f"the {name} are not in order, best price first",
                    code="MKT-041",
                    field=name,
                    hint="sort the levels and add up those of one price",
                )
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise MarketDataError(
                f"the book is crossed: bid {self.bids[0][0]:g} against ask {self.asks[0][0]:g}",
                code="MKT-010",
                hint="remove the book, or refresh the market",
            )

    @property
    def mid(self) -> float:
        """Middle of best bid and best ask, quote currency.

        Raises
        ------
        MarketDataError
            ``MKT-041`` when a side is empty.
        """
        if not (self.bids and self.asks):
            raise MarketDataError(
                "a book with an empty side has no middle", code="MKT-041", field="depth"
            )
        return 0.5 * (self.bids[0][0] + self.asks[0][0])

    @property
    def half_spread(self) -> float:
        """Half of the spread as a fraction of the middle."""
        return 0.5 * (self.asks[0][0] - self.bids[0][0]) / self.mid

    def levels(self, side: Literal["buy", "sell"]) -> tuple[Floats, Floats]:
        """Return prices and sizes that an order of a side meets: a buy meets the asks."""
        table = np.array(self.asks if side == "buy" else self.bids, dtype=np.float64)
        table = table.reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def closing(self, quantity: ArrayLike) -> tuple[Walk, Floats]:
        """Walk the book to close positions at once.

        Parameters
        ----------
        quantity : array_like of float
            Positions in coins: a long (> 0) is sold into the bids, a short bought from the asks.

        Returns
        -------
        walk : Walk
            What would fill.
        cost : float64[...]
            Loss against the middle on what fills, quote currency, at least 0.
        """
        q = np.asarray(quantity, dtype=np.float64)
        sold = walk_book(*self.levels("sell"), np.maximum(q, 0.0))
        bought = walk_book(*self.levels("buy"), np.maximum(-q, 0.0))
        long = q > 0
        walk = Walk(
            *(
                np.where(long, getattr(sold, name), getattr(bought, name))
                for name in ("filled", "unfilled", "value", "average", "worst")
            )
        )
        return walk, np.where(long, self.mid * walk.filled - walk.value, 0.0) + np.where(
            q < 0, walk.value - self.mid * walk.filled, 0.0
        )
