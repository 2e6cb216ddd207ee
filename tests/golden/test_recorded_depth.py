"""Recorded order books: walks against plain loops, and how well a law of impact fits them.

Sizes are in each venue's own unit (data README, section 6); each book is brought to coins first.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossmargin.market import OrderBook, contract_coins, fit_impact

#: (venue, symbol, value of one contract, whether it is in US dollars): the README's unit traps.
BOOKS = [
    ("BITMEX", "XBTUSD", 1.0, True),
    ("BINANCE_DELIVERY", "BTCUSD_211231", 100.0, True),
    ("BINANCE_DELIVERY", "ETHUSD_210924", 10.0, True),
    ("BINANCE_DELIVERY", "ETCUSD_PERP", 10.0, True),
    ("KRAKEN_FUTURES", "PI_ETHUSD", 1.0, True),
    ("KRAKEN_FUTURES", "PI_LTCUSD", 1.0, True),
    ("BINANCE_FUTURES", "SUSHIUSDT", 1.0, False),
    ("COINBASE", "SKL-USD", 1.0, False),
]


@pytest.fixture(scope="module")
def levels() -> pl.DataFrame:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if folder is None:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded order books are not tested")
    path = Path(folder) / "order_book_snapshots_2021.parquet"
    if not path.exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {path.name}: recorded order books are not tested")
    return pl.read_parquet(path).with_columns(pl.col("venue", "symbol", "side").cast(pl.String))


def book(levels: pl.DataFrame, venue: str, symbol: str, unit: float, inverse: bool) -> OrderBook:
    sides = {}
    for side in ("bid", "ask"):
        rows = levels.filter(
            (pl.col("venue") == venue) & (pl.col("symbol") == symbol) & (pl.col("side") == side)
        ).sort("level")
        price, size = rows["price"].to_numpy(), rows["size"].to_numpy()
        coins = contract_coins(price, size, unit, inverse=inverse)
        sides[side] = tuple(zip(price.tolist(), coins.tolist()))
    return OrderBook(bids=sides["bid"], asks=sides["ask"])


def loop(ladder: tuple[tuple[float, float], ...], quantity: float) -> tuple[float, float]:
    left, value = quantity, 0.0
    for price, size in ladder:
        take = min(left, size)
        value += take * price
        left -= take
    return quantity - left, value


def test_every_recorded_book_is_in_order(levels: pl.DataFrame) -> None:
    """The reader's checks refuse none of the 61 recorded books, whatever their unit."""
    pairs = levels.select("venue", "symbol").unique().sort("venue", "symbol").rows()
    assert len(pairs) == 61
    for venue, symbol in pairs:
        found = book(levels, venue, symbol, 1.0, inverse=False)
        assert found.bids or found.asks


@pytest.mark.parametrize(("venue", "symbol", "unit", "inverse"), BOOKS, ids=lambda v: str(v))
def test_walks_of_recorded_books(
    levels: pl.DataFrame, venue: str, symbol: str, unit: float, inverse: bool
) -> None:
    found = book(levels, venue, symbol, unit, inverse)
    for sign, ladder in ((1.0, found.bids), (-1.0, found.asks)):
        depth = sum(size for _, size in ladder)
        asked = np.geomspace(ladder[0][1] / 3, depth * 1.2, 40)
        walk, cost = found.closing(sign * asked)
        for row, quantity in enumerate(asked):
            filled, value = loop(ladder, float(quantity))
            assert walk.filled[row] == pytest.approx(filled, rel=1e-12)
            assert walk.value[row] == pytest.approx(value, rel=1e-11)
            assert cost[row] == pytest.approx(
                sign * (found.mid * filled - value), rel=1e-8, abs=1e-6
            )
        per_coin = cost / walk.filled
        assert (np.diff(per_coin) >= -1e-9 * per_coin[-1]).all()  # more costs more per coin


@pytest.mark.parametrize(("venue", "symbol", "unit", "inverse"), BOOKS, ids=lambda v: str(v))
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_fit_is_the_best_power_and_says_its_error(
    levels: pl.DataFrame, venue: str, symbol: str, unit: float, inverse: bool, side: str
) -> None:
    found = book(levels, venue, symbol, unit, inverse)
    free = fit_impact(found, side)  # type: ignore[arg-type]
    root = fit_impact(found, side, power=0.5)  # type: ignore[arg-type]
    assert free.rmse_log <= root.rmse_log + 1e-12
    # Neither a slightly other exponent nor a slightly other level does better.
    for other in (free.power - 0.02, free.power + 0.02):
        assert fit_impact(found, side, power=other).rmse_log >= free.rmse_log  # type: ignore[arg-type]
    # The error is that of the fit against the walk, worked out again here.
    ladder = found.bids if side == "sell" else found.asks
    sign = 1.0 if side == "sell" else -1.0
    near = [s for p, s in ladder if abs(p / found.mid - 1.0) <= 0.02]
    sizes = np.geomspace(max(near[0] * 1.01, 0.01 * sum(near)), sum(near), 60)
    errors = []
    for quantity in sizes:
        filled, value = loop(ladder, float(quantity))
        impact = sign * (found.mid - value / filled) / found.mid - found.half_spread
        if impact > 1e-12:
            errors.append(np.log(impact) - np.log(free.coefficient * quantity**free.power))
    assert free.points == len(errors)
    assert free.rmse_log == pytest.approx(float(np.sqrt(np.mean(np.square(errors)))), rel=1e-6)


def test_units_decide_the_coefficient(levels: pl.DataFrame) -> None:
    """Contracts taken for coins: the same shape of book, an impact that is wrong by the unit.

    100 dollars at about 32,600 are 0.003 coins: a size of one coin meets 326 contracts.
    """
    right = book(levels, "BINANCE_DELIVERY", "BTCUSD_211231", 100.0, True)
    wrong = book(levels, "BINANCE_DELIVERY", "BTCUSD_211231", 1.0, False)
    assert wrong.bids[0][1] / right.bids[0][1] == pytest.approx(right.bids[0][0] / 100.0)
    at = [float(fit_impact(b).fraction(10.0)) for b in (right, wrong)]
    assert at[0] > 20 * at[1]


def test_shape_of_resting_depth(levels: pl.DataFrame) -> None:
    """Measured, not assumed: within 2 % exponents lie between the root and a straight line."""
    powers = [
        fit_impact(book(levels, *row), side).power  # type: ignore[arg-type]
        for row in BOOKS
        for side in ("sell", "buy")
    ]
    assert 0.5 < float(np.median(powers)) < 1.0
