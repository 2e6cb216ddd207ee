"""What a made-up account may choose from: instruments as weights, deltas and stress losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book._shape import BookShape
from crossmargin.errors import InputError
from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.market import MarketView, Snapshot
from crossmargin.pricing import black76, black76_greeks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: What is drawn from: linear contracts; those preferred with coin collateral; options; calls
#: out of the money; options with a neighbour to make a vertical spread.
LINEAR, COIN_LINEAR, OPTION, CALL, SPREAD = range(5)

#: A lot is the power of ten of units that is worth at most this many dollars.
_LOT_USD = 50.0
_DELTA_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Palette:
    """Columns by instrument of a registry (n) and tables to draw from.

    Attributes
    ----------
    unit_usd : float64[n]
        Notional of one unit, US dollars of the underlying.
    delta_usd : float64[n]
        Change of its value when the underlying rises by its own price, US dollars.
    mark : float64[n]
        Price that entries are about: quote currency, coins for inverse options.
    inverse_linear : bool[n]
        Profit is ``1/entry − 1/mark``.
    size : float64[n]
        Contract size.
    value : float64[n]
        Value of one unit that counts as equity (options), settlement asset.
    down, up : float64[n]
        Profit of one unit in the stress, settlement asset.
    gross : float64[n]
        Notional of one unit, settlement asset.
    option : bool[n]
        Whether it is an option.
    segment : int64[n]
        Underlying and settlement asset together, numbered.
    segment_asset, segment_hedge : int64[S]
        Settlement asset and most traded linear contract of each segment (-1: none).
    neighbour : int64[n]
        Option of the next strike; -1 where there is none.
    sibling : int64[n]
        Another linear contract of the same underlying; -1 where there is none.
    lot : int64[n]
        Decimals of a lot: quantities are multiples of ``10 ** -lot``.
    coin : int64[n]
        Underlying of each, as an asset that may be held as collateral; -1 where it may not.
    cdf : float64[C, n]
        By what is drawn: cumulated weights of instruments, in the order of `order`.
    order : int64[n]
        Instruments by underlying.
    low, high : float64[C, U]
        Range of `cdf` that belongs to each underlying.
    home_cdf : float64[U]
        Cumulated weights of underlyings.
    underlying : int64[n]
        Place of the underlying in the ranking.
    asset_usd : float64[A]
        US dollars per asset; NaN where the market has none.
    coins, dollars : int64
        Assets that may be collateral; assets that are dollars.
    """

    unit_usd: Floats
    delta_usd: Floats
    mark: Floats
    inverse_linear: Bools
    size: Floats
    value: Floats
    down: Floats
    up: Floats
    gross: Floats
    option: Bools
    segment: Ints
    segment_asset: Ints
    segment_hedge: Ints
    neighbour: Ints
    sibling: Ints
    lot: Ints
    coin: Ints
    cdf: Floats
    order: Ints
    low: Floats
    high: Floats
    home_cdf: Floats
    underlying: Ints
    asset_usd: Floats
    coins: Ints
    home_coin: Ints


def palette(
    registry: Registry, snapshot: Snapshot, shape: BookShape, coins: Sequence[str]
) -> Palette:
    """Price what may be drawn, and weigh it.

    Raises
    ------
    InputError
        ``INP-045`` when the market prices no contract of the registry, or a coin is not known.
    """
    for name in coins:
        if name not in registry.assets:
            raise InputError(
                f"the registry has no asset {name!r}",
                code="INP-045",
                field="coins",
                hint="coins are underlyings or settlement assets of the registry",
            )
    terms = registry.terms
    view = snapshot.view(registry, ())
    usd = np.where([name == "USD" for name in registry.assets], 1.0, view.asset_usd)
    option = terms.kind == KIND_CODE["option"]
    forward = view.price
    usable = (terms.kind != KIND_CODE["spot"]) & ~view.settled & np.isfinite(forward)
    usable &= np.where(option, np.isfinite(view.vol), True)
    usable &= np.isfinite(usd[terms.settlement]) & np.isfinite(usd[terms.underlying])
    if not usable.any():
        raise InputError(
            "the market prices no perpetual, future or option of the registry",
            code="INP-045",
            field="registry",
            hint="use a registry and a snapshot that belong together",
        )
    at = _Prices(registry, view, option, usable)
    spot_usd, quote_usd = usd[terms.underlying], usd[terms.quote]
    inverse_linear = terms.inverse & ~option
    unit_usd = np.where(inverse_linear, quote_usd, spot_usd) * terms.contract_size
    names, underlying = _ranking(registry, usable)
    segment, segment_asset = _segments(registry)
    scores = _scores(registry, view, option)
    cdf, order, low, high = _tables(registry, usable, option, underlying, scores, shape, view)
    weight = np.arange(1, len(names) + 1, dtype=np.float64) ** -shape.underlying_zipf
    coin_of = np.full(len(registry.assets), -1, dtype=np.int64)
    held = np.array([registry.asset(name) for name in coins], dtype=np.int64)
    coin_of[held] = held
    home_coin = coin_of[np.array(names, dtype=np.int64)]
    if held.size:
        home_coin = np.where(home_coin < 0, held[0], home_coin)
    hedges = _hedges(segment, segment_asset.size, usable & ~option, scores)
    return Palette(
        unit_usd=unit_usd,
        delta_usd=at.delta_usd(unit_usd, spot_usd),
        mark=at.mark,
        inverse_linear=inverse_linear,
        size=terms.contract_size,
        value=np.where(option, at.value(1.0, 1.0), 0.0),
        down=at.gain(1.0 - shape.stress_move, 1.0 + shape.stress_vol),
        up=at.gain(1.0 + shape.stress_move, 1.0 + shape.stress_vol),
        gross=unit_usd / usd[terms.settlement],
        option=option,
        segment=segment,
        segment_asset=segment_asset,
        segment_hedge=hedges,
        neighbour=_neighbours(registry, usable & option),
        sibling=_siblings(underlying, usable & ~option, scores),
        lot=-np.floor(np.log10(_LOT_USD / np.where(usable, unit_usd, 1.0))).astype(np.int64),
        coin=coin_of[terms.underlying],
        cdf=cdf,
        order=order,
        low=low,
        high=high,
        home_cdf=np.cumsum(weight) / weight.sum(),
        underlying=underlying,
        asset_usd=usd,
        coins=held,
        home_coin=home_coin,
    )


class _Prices:
    """Values of one unit in the settlement asset, today and after a move."""

    def __init__(self, registry: Registry, view: MarketView, option: Bools, usable: Bools) -> None:
        terms = registry.terms
        self.option, self.inverse = option, terms.inverse
        self.size = terms.contract_size
        self.forward = np.where(usable, view.price, 1.0)
        self.strike = np.where(option, terms.strike, 1.0)
        self.vol = np.where(option & usable, view.vol, 1.0)
        self.years = np.where(option & usable, np.minimum(view.years, 100.0), 1.0)
        self.is_call = terms.is_call
        premium = self.value(1.0, 1.0) / self.size
        self.mark = np.where(option, premium, self.forward)

    def value(self, move: float, vol: float) -> Floats:
        """Return the value of one unit of an option; of the rest, a forward's from price 0."""
        forward = self.forward * move
        black = black76(forward, self.strike, self.years, self.vol * vol, self.is_call)
        linear = np.where(self.inverse, -1.0 / forward, forward)
        worth = np.where(self.inverse, black / forward, black)
        return np.asarray(np.where(self.option, worth, linear) * self.size)

    def gain(self, move: float, vol: float) -> Floats:
        """Return the profit of one unit when the underlying moves by a factor."""
        return self.value(move, vol) - self.value(1.0, 1.0)

    def delta_usd(self, unit_usd: Floats, spot_usd: Floats) -> Floats:
        """Return the change of value when the underlying rises by its own price, US dollars."""
        greeks = black76_greeks(self.forward, self.strike, self.years, self.vol, self.is_call)
        optional = np.asarray(greeks.delta) * self.size * spot_usd
        delta = np.where(self.option, optional, unit_usd)
        return np.where(np.abs(delta) < _DELTA_FLOOR, _DELTA_FLOOR, delta)


def _ranking(registry: Registry, usable: Bools) -> tuple[list[int], Ints]:
    """Return the underlyings that something can be drawn on, and each instrument's place."""
    under = registry.terms.underlying
    names = list(dict.fromkeys(under[usable].tolist()))
    place = np.full(len(registry.assets), 0, dtype=np.int64)
    place[names] = np.arange(len(names))
    return names, place[under]


def _segments(registry: Registry) -> tuple[Ints, Ints]:
    terms = registry.terms
    assets = len(registry.assets)
    key = terms.underlying.astype(np.int64) * assets + terms.settlement
    found, segment = np.unique(key, return_inverse=True)
    return segment.astype(np.int64), found % assets


def _scores(registry: Registry, view: MarketView, option: Bools) -> Floats:
    """Return how little each contract is traded: what ranks them within an underlying."""
    terms = registry.terms
    soon = np.where(np.isfinite(view.years), view.years, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.abs(np.log(terms.strike / view.price)) / (view.vol * np.sqrt(view.years))
    # A year of time counts like three standard deviations of strike.
    return np.where(option, np.nan_to_num(away, nan=1e3, posinf=1e3) + 3.0 * soon, soon)


def _hedges(segment: Ints, count: int, linear: Bools, scores: Floats) -> Ints:
    out = np.full(count, -1, dtype=np.int64)
    rows = np.flatnonzero(linear)
    for row in rows[np.argsort(-scores[rows], kind="stable")]:
        out[segment[row]] = row
    return out


def _siblings(underlying: Ints, linear: Bools, scores: Floats) -> Ints:
    """Return the next traded contract of the same underlying, the most traded after the last."""
    out = np.full(linear.size, -1, dtype=np.int64)
    for place in np.unique(underlying[linear]):
        rows = np.flatnonzero(linear & (underlying == place))
        rows = rows[np.argsort(scores[rows], kind="stable")]
        if rows.size > 1:
            out[rows] = np.roll(rows, -1)
    return out


def _neighbours(registry: Registry, listed: Bools) -> Ints:
    """Return, for each option, the one of the next strike, same expiry and right."""
    terms = registry.terms
    rows = np.flatnonzero(listed)
    keys = [terms.strike, terms.is_call, terms.expiry_ns, terms.settlement, terms.underlying]
    order = rows[np.lexsort([key[rows] for key in keys])]
    out = np.full(len(registry), -1, dtype=np.int64)
    same = np.ones(max(order.size - 1, 0), dtype=bool)
    for key in keys[1:]:
        same &= key[order[1:]] == key[order[:-1]]
    out[order[:-1][same]] = order[1:][same]
    return out


def _tables(
    registry: Registry,
    usable: Bools,
    option: Bools,
    underlying: Ints,
    scores: Floats,
    shape: BookShape,
    view: MarketView,
) -> tuple[Floats, Ints, Floats, Floats]:
    terms = registry.terms
    linear = usable & ~option
    inverse = linear & terms.inverse
    count = int(underlying.max()) + 1
    has_inverse = np.bincount(underlying[inverse], minlength=count) > 0
    preferred = linear & (terms.inverse | ~has_inverse[underlying])
    out_call = usable & option & terms.is_call & (terms.strike > view.price)
    spread = np.zeros_like(usable)
    spread[_neighbours(registry, usable & option) >= 0] = True
    order = np.argsort(underlying, kind="stable")
    masks = [linear, preferred, usable & option, out_call, spread]
    # What is not listed is replaced by what is: options by contracts, contracts by options.
    fallback = linear if linear.any() else usable & option
    cdf = np.zeros((len(masks), usable.size))
    low, high = np.zeros((len(masks), count)), np.zeros((len(masks), count))
    popular = np.arange(1, count + 1, dtype=np.float64) ** -shape.underlying_zipf
    for row, mask in enumerate(masks):
        chosen = mask if mask.any() else fallback
        weight = np.zeros(usable.size)
        for place in range(count):
            mine = np.flatnonzero(chosen & (underlying == place))
            ranked = mine[np.argsort(scores[mine], kind="stable")]
            share = np.arange(1, mine.size + 1, dtype=np.float64) ** -shape.instrument_zipf
            if mine.size:
                weight[ranked] = popular[place] * share / share.sum()
        total = np.cumsum(weight[order]) / weight.sum()
        cdf[row] = total
        ends = np.searchsorted(underlying[order], np.arange(count), side="right") - 1
        high[row] = total[ends]
        low[row, 1:] = high[row, :-1]
    return cdf, order, low, high
