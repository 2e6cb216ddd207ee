"""Price impact as order books have it: levels are walked, and what they lack is not filled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.cascade.figures import Floats, number, numbers
from crossmargin.errors import CascadeError, InputError
from crossmargin.market import OrderBook, contract_coins, walk_book
from crossmargin.market.history import numbers_of, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class BookWalk:
    """A flow walks the levels of order books; what the books do not hold is not filled.

    Levels keep their distance from the middle as the price moves, and their sizes shrink and grow
    with the depth: a book withdrawn to a third has a third at every level. The price after a flow
    is that of the last level touched. It is the window's net flow that walks: a purchase after a
    sale first fills the levels again that the sale emptied.

    Source: requirements row B13 (book walk equals a hand-summed ladder). That levels move along
    with the price and shrink in proportion is ours (house): one recorded book is one moment.

    Attributes
    ----------
    books : tuple of OrderBook
        By contract, sizes in coins, prices in US dollars.
    depth_usd : float64[K] or None
        D at which the books are as given; default what they show, :func:`depth_of_book`.
    """

    books: tuple[OrderBook, ...]
    depth_usd: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.depth_usd is not None:
            given = numbers("depth_usd", self.depth_usd, above=0)
            if given.shape != (len(self.books),):
                raise CascadeError(
                    "depth_usd is one number for each book", code="CAS-001", field="depth_usd"
                )

    def base_depth(self) -> Floats:
        """Return D at which the books are as given, float64[K]."""
        if self.depth_usd is not None:
            return np.asarray(self.depth_usd, dtype=np.float64)
        return np.array([depth_of_book(book) for book in self.books])

    def _side(
        self, k: int, side: Literal["buy", "sell"], scale: float, price: float
    ) -> tuple[Floats, Floats]:
        level, size = self.books[k].levels(side)
        return level * (price / self.books[k].mid), size * scale

    def _scale(self, depth_usd: Floats) -> Floats:
        return np.asarray(depth_usd / self.base_depth(), dtype=np.float64)

    def displacement(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """See :class:`Impact`; from the middle, so that the first coin crosses half the spread."""
        out, scale = np.zeros(coins.size), self._scale(depth_usd)
        for k, q in enumerate(coins.tolist()):
            if q != 0.0:
                side: Literal["buy", "sell"] = "buy" if q > 0 else "sell"
                walk = walk_book(*self._side(k, side, scale[k], price[k]), abs(q))
                out[k] = np.log(float(walk.worst) / price[k])
        return out

    def turnover(self, coins: Floats, depth_usd: Floats, price: Floats) -> Floats:
        """Sum of price × size over the levels."""
        out, scale = np.zeros(coins.size), self._scale(depth_usd)
        for k, q in enumerate(coins.tolist()):
            if q != 0.0:
                side: Literal["buy", "sell"] = "buy" if q > 0 else "sell"
                walk = walk_book(*self._side(k, side, scale[k], price[k]), abs(q))
                out[k] = np.copysign(float(walk.value), q)
        return out

    def capacity(self, depth_usd: Floats, price: Floats) -> tuple[Floats, Floats]:
        """Return what the bids and the asks hold."""
        scale = self._scale(depth_usd)
        sell = np.array([float(b.levels("sell")[1].sum()) for b in self.books]) * scale
        buy = np.array([float(b.levels("buy")[1].sum()) for b in self.books]) * scale
        return sell, buy


def depth_of_book(book: OrderBook, *, within: float = 0.01, side: str = "both") -> float:
    """Return D of a book in US dollars: what lies within a distance of the middle, over it.

    Parameters
    ----------
    book : OrderBook
        Sizes in coins, prices in US dollars.
    within : float
        Distance from the middle; 1 % by default, so that D is 100 times the "1 % depth"
        (cascades.md design table; published there as a reading of depth panels).
    side : {"both", "sell", "buy"}
        Whose depth: the mean of both sides, the bids, or the asks.

    Raises
    ------
    CascadeError
        ``CAS-001`` for a book that is empty so close, ``CAS-003`` for another side.
    """
    number("within", within, above=0, most=1)
    sides: dict[str, tuple[Literal["buy", "sell"], ...]] = {
        "both": ("sell", "buy"),
        "sell": ("sell",),
        "buy": ("buy",),
    }
    if side not in sides:
        raise CascadeError(
            f"there is no side {side!r}",
            code="CAS-003",
            field="side",
            hint="both, sell or buy",
        )
    usd = 0.0
    for one in sides[side]:
        level, size = book.levels(one)
        # 98 lies within 2 % of 100, whatever binary fractions say.
        near = np.abs(level / book.mid - 1.0) <= within * (1.0 + 1e-9)
        usd += float((level[near] * size[near]).sum()) / len(sides[side])
    if usd <= 0.0:
        raise CascadeError(
            f"the book is empty within {within:g} of its middle", code="CAS-001", field="within"
        )
    return usd / within


def recorded_book(
    path: str | Path,
    symbol: str,
    *,
    venue: str | None = None,
    contract_size: float = 1.0,
    inverse: bool = False,
) -> OrderBook:
    """Read one recorded order book from a table.

    Parameters
    ----------
    path : str or Path
        Parquet, or CSV with a header, with the columns ``symbol``, ``side`` (bid, ask), ``price``
        and ``size``, and ``venue`` where `venue` is given. One book of a symbol.
    symbol, venue : str
        Whose, as the file names them.
    contract_size : float
        Coins of one contract (linear), or US dollars of one (inverse).
    inverse : bool
        Whether sizes count contracts of a fixed amount of US dollars.

    Raises
    ------
    InputError
        ``INP-005`` unreadable file, ``INP-003`` missing column or symbol.
    MarketDataError
        ``MKT-041`` levels that are not positive or stand twice, ``MKT-010`` a crossed book.
    """
    import polars as pl

    table = read_table(path)
    wanted = {"symbol": symbol} if venue is None else {"venue": venue, "symbol": symbol}
    for name in (*wanted, "side", "price", "size"):
        if name not in table.columns:
            raise InputError(
                f"the table of order books has no column {name!r}",
                code="INP-003",
                field=name,
                hint="it needs symbol, side, price and size",
            )
    for name, value in wanted.items():
        known = table[name].cast(pl.String)
        table = table.filter(known == value)
        if table.is_empty():
            raise InputError(
                f"the table has no order book of {name} {value!r}",
                code="INP-003",
                field=name,
                hint="it has " + ", ".join(sorted(known.unique().drop_nulls().to_list())[:12]),
            )
    price, size = numbers_of(table, "price"), numbers_of(table, "size")
    coins = contract_coins(
        price, size, number("contract_size", contract_size, above=0), inverse=inverse
    )
    side = np.array([str(x).lower() for x in table["side"].cast(pl.String).to_list()])
    levels = {}
    for name, best in (("bid", -1.0), ("ask", 1.0)):
        mine = np.flatnonzero(side == name)
        order = mine[np.argsort(best * price[mine], kind="stable")]
        levels[name] = tuple(zip(price[order].tolist(), coins[order].tolist()))
    return OrderBook(bids=levels["bid"], asks=levels["ask"], source=Path(path).name)
