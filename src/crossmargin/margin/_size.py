"""Size add-ons: concentration and liquidation cost on what an owner holds in all.

A *bucket* is one owner's net position in one underlying (or instrument); a *cell* is what one
group (an account's pot, for one underlying) puts into it. The charge is worked out by bucket and
handed back by cell, to the cells on the side of the net position in proportion to their size: a
group that makes the owner's position smaller pays nothing, and no group is paid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import MarketDataError, RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import unique_rows
from crossmargin.margin._formula import Part, pick_rule
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import attempt, distinct
from crossmargin.margin.components import Concentration, Impact, ImpactScale, SizeScale
from crossmargin.market import LIQUIDITY_FIGURES, liquidation_cost

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SizeSpec = Concentration | Impact

#: Columns of the market's liquidity.
_ADV, _SIGMA, _OPEN, _SPREAD = range(4)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Who puts what where; no price is in it.

    Attributes
    ----------
    cell : int64[N + L]
        Cell of each position, then of each order leg.
    cell_group, cell_bucket : int64[C]
        Where each cell stands.
    bucket_key : int64[K]
        Asset (per underlying) or instrument of each bucket.
    """

    cell: Ints
    cell_group: Ints
    cell_bucket: Ints
    bucket_key: Ints


def _layout(spec: SizeSpec, frame: Frame) -> _Layout:
    a, book = frame.arrangement, frame.book
    holder = np.arange(book.size, dtype=np.int64)
    if spec.aggregate == "owner":
        seen: dict[str, int] = {}
        numbers = [seen.setdefault(name, len(seen)) for name in book.owners]
        holder = np.array(numbers, dtype=np.int64)
    of_group = holder[book.pool_account[a.pot_pool[a.group_pot]]]
    instrument = np.concatenate([book.position_instrument, book.leg_instrument])
    group = np.concatenate([a.position_group, a.leg_group])
    key = instrument if spec.per == "instrument" else frame.terms.underlying[instrument]
    (cell_holder, cell_key, cell_group), cell = unique_rows(
        of_group[group], key.astype(np.int64), group
    )
    (_, bucket_key), bucket = unique_rows(cell_holder, cell_key)
    return _Layout(cell, cell_group, bucket, bucket_key)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Net sizes in coins.

    With orders, each bucket after the worse of all orders that add to it and all that take from
    it: exact, because the charge never falls as the net grows.

    Attributes
    ----------
    size : float64[K]
        |net| of each bucket, after the worse side's fills where orders may fill.
    weight : float64[C]
        Share of its bucket's charge that each cell carries; adds up to 1 where there is a size.
    portion : float64[N]
        Each position's part of its cell's net, signed.
    """

    size: Floats
    weight: Floats
    portion: Floats


def _sizes(spec: SizeSpec, frame: Frame, layout: _Layout, quantity: Floats, orders: bool) -> _Sizes:
    book = frame.book
    n, cells, buckets = quantity.size, layout.cell_bucket.size, layout.bucket_key.size
    settled = frame.view.settled
    unit = frame.unit_delta if spec.per == "underlying" else frame.unit_coins
    counts = np.isin(frame.terms.kind, [KIND_CODE[kind] for kind in spec.kinds]) & ~settled
    unit = np.where(counts, unit, 0.0)
    coins = quantity * unit[book.position_instrument]
    held = sum_by(coins, layout.cell[:n], cells)
    chosen = held
    net = sum_by(held, layout.cell_bucket, buckets)
    if orders and book.leg_order.size:
        extra = frame.leg_quantity * unit[book.leg_instrument]
        # The legs of an order fill together: it counts by what they add up to in a bucket.
        pair = book.leg_order * buckets + layout.cell_bucket[layout.cell[n:]]
        orders_of, row = np.unique(pair, return_inverse=True)
        adds = sum_by(extra, row, orders_of.size)[row]
        for side in (adds > 0, adds < 0):
            after = held + sum_by(np.where(side, extra, 0.0), layout.cell[n:], cells)
            total = sum_by(after, layout.cell_bucket, buckets)
            worse = np.abs(total) > np.abs(net)
            chosen = np.where(worse[layout.cell_bucket], after, chosen)
            net = np.where(worse, total, net)
    load = np.maximum(chosen * np.sign(net)[layout.cell_bucket], 0.0)
    whole = sum_by(load, layout.cell_bucket, buckets)[layout.cell_bucket]
    weight, portion = np.zeros(cells), np.zeros(n)
    np.divide(load, whole, out=weight, where=whole > 0)
    mine = held[layout.cell[:n]]
    np.divide(coins, mine, out=portion, where=mine != 0)
    return _Sizes(np.abs(net), weight, portion)


def _key_name(spec: SizeSpec, frame: Frame, key: int) -> str:
    registry = frame.book.registry
    return registry[key].id if spec.per == "instrument" else registry.assets[key]


def _underlyings(spec: SizeSpec, frame: Frame, keys: Ints) -> Ints:
    """Return the underlying asset of each bucket."""
    return frame.terms.underlying[keys].astype(np.int64) if spec.per == "instrument" else keys


def _figures(spec: SizeSpec, frame: Frame, keys: Ints, columns: tuple[int, ...]) -> list[Floats]:
    """Return liquidity figures of buckets that have a size.

    Raises
    ------
    MarketDataError
        ``MKT-040`` a figure is missing, ``MKT-002`` it is too old.
    """
    known = frame.view.liquidity
    by_instrument = spec.per == "instrument"
    table = (known.instrument if by_instrument else known.asset)[keys]
    age = (known.instrument_age_days if by_instrument else known.asset_age_days)[keys]
    for column in columns:
        missing = np.flatnonzero(np.isnan(table[:, column]))
        if missing.size:
            name = _key_name(spec, frame, int(keys[missing[0]]))
            raise MarketDataError(
                f"the market does not say {LIQUIDITY_FIGURES[column]} of {name}, which "
                f"{spec.name!r} of rule-set {frame.ruleset.id!r} needs",
                code="MKT-040",
                instrument=name if by_instrument else None,
                field=f"liquidity.{name}.{LIQUIDITY_FIGURES[column]}",
                hint=f"add {name} to the market's liquidity",
            )
    old = np.flatnonzero(age > spec.max_age_days)
    if old.size:
        name = _key_name(spec, frame, int(keys[old[0]]))
        raise MarketDataError(
            f"the liquidity of {name} is {age[old[0]]:,.1f} days old, older than the "
            f"{spec.max_age_days:g} days that {spec.name!r} allows",
            code="MKT-002",
            field=f"liquidity.{name}.as_of",
            hint="refresh it, or raise max_age_days in the rule-set",
        )
    return [table[:, column] for column in columns]


def _scale(spec: SizeSpec, frame: Frame, key: int) -> SizeScale | ImpactScale:
    table: dict[str, SizeScale | ImpactScale] = {**spec.scales}
    if spec.per == "instrument":
        return pick_rule(table, frame, key, spec.name)
    name = frame.book.registry.assets[key]
    found = table.get(name) or table.get("default")
    if found is None:
        raise RulesetError(
            f"rule-set {frame.ruleset.id!r} has no {spec.name} parameters for {name}",
            code="RUL-011",
            field=f"components.{spec.name}.scales",
            hint="supply them with --set or --params, or add default",
        )
    return found


def _columns(spec: SizeSpec, frame: Frame, keys: Ints, names: tuple[str, ...]) -> list[Floats]:
    """Return parameters of buckets as columns."""
    different, place = np.unique(keys, return_inverse=True)
    scales = [_scale(spec, frame, int(key)) for key in different]
    table = np.array(
        [[np.inf if (v := getattr(s, n)) is None else float(v) for n in names] for s in scales]
    )
    return [table[place.reshape(-1), column] for column in range(len(names))]


def concentration_charge(
    size: Floats, threshold: Floats, rate: Floats, power: Floats, max_rate: Floats
) -> tuple[Floats, Floats]:
    """Add-on per unit of price, and its ``Q·∂/∂Q``.

    ``min(max_rate, rate·(e/T)^power)·e`` with the excess ``e = max(|Q| − T, 0)``: 0 up to the
    threshold T, continuous with its slope there, and growing faster than |Q| beyond it.

    Parameters
    ----------
    size, threshold : float64[...]
        |Q| and T in coins; T > 0.
    rate, power, max_rate : float64[...]
        See :class:`~crossmargin.margin.components.SizeScale`; ``inf`` for no cap.

    Returns
    -------
    charge, slope : float64[...]
        Coins.

    Notes
    -----
    House formula after the published pattern (an add-on above a size threshold set against average
    daily volume or open interest: clearing-practice §1.2 and §1.7, requirements row B13; CME
    publishes no law of growth).
    """
    excess = np.maximum(size - threshold, 0.0)
    grown = np.where(rate > 0, rate * (excess / threshold) ** power, 0.0)
    share = np.minimum(grown, max_rate)
    return share * excess, size * share * np.where(grown < max_rate, 1.0 + power, 1.0)


def run_concentration(spec: Concentration, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge an owner's net position beyond a threshold; see :func:`concentration_charge`.

    Raises
    ------
    MarketDataError
        ``MKT-040`` when the market lacks the volume or open interest of something held.
    RulesetError
        ``RUL-011`` when the rule-set has no parameters for it.
    """

    def charge(keys: Ints, size: Floats, price: Floats) -> tuple[Floats, Floats]:
        names = ("threshold", "rate", "power", "max_rate")
        threshold, rate, power, most = _columns(spec, frame, keys, names)
        if spec.measure == "usd":
            threshold = threshold / price
        else:
            column = _ADV if spec.measure == "adv" else _OPEN
            threshold = threshold * _figures(spec, frame, keys, (column,))[0]
        return concentration_charge(size, threshold, rate, power, most)

    return _run(spec, frame, quantity, orders, charge)


def run_impact(spec: Impact, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Charge what closing an owner's net position would cost.

    Spread + ``Y·σ·(Q/ADV)^power`` + risk over the days it takes, times the notional: see
    :func:`crossmargin.market.liquidation_cost` (clearing-practice §1.7). Equal for initial and
    maintenance margin; the expression may tell them apart.

    Raises
    ------
    MarketDataError
        ``MKT-040`` when the market lacks volume, volatility or half-spread of something held.
    RulesetError
        ``RUL-011`` when the rule-set has no parameters for it.
    """

    def charge(keys: Ints, size: Floats, price: Floats) -> tuple[Floats, Floats]:
        adv, sigma, spread = _figures(spec, frame, keys, (_ADV, _SIGMA, _SPREAD))
        names = ("y", "power", "participation", "spread_multiple", "risk_multiple", "covered_days")
        given = dict(zip(names, _columns(spec, frame, keys, names)))
        cost = liquidation_cost(
            size,
            adv_coins=adv,
            sigma_daily=sigma,
            half_spread=spread,
            whole_days=spec.horizon == "whole-days",
            **given,
        )
        return size * cost.total, size * cost.slope

    return _run(spec, frame, quantity, orders, charge)


def _run(
    spec: SizeSpec,
    frame: Frame,
    quantity: Floats,
    orders: bool,
    charge: Callable[[Ints, Floats, Floats], tuple[Floats, Floats]],
) -> Part:
    """Charge every bucket that has a size and hand the charge back to its groups.

    A position's share is its part of its group's net times ``Q·∂/∂Q`` of the owner's charge as
    far as that group carries it: what the group's charge grows by when all of the owner's
    positions grow together.
    """
    a = frame.arrangement
    layout = frame.once(f"size {spec.per} {spec.aggregate}", lambda: _layout(spec, frame))
    found = _sizes(spec, frame, layout, quantity, orders)
    some = np.flatnonzero(found.size > 0)
    keys = layout.bucket_key[some]
    usd, slope = np.zeros(found.size.size), np.zeros(found.size.size)
    if some.size:
        price = frame.view.asset_usd[_underlyings(spec, frame, keys)]
        # Absurd figures may overflow: the requirement is then refused as not finite.
        with np.errstate(over="ignore", invalid="ignore"):
            value, grows = _charged(frame, layout, some, charge, found.size[some], price)
            usd[some], slope[some] = value * price, grows * price
    per_usd = found.weight / frame.pot_usd[a.group_pot[layout.cell_group]]
    mine = layout.cell[: quantity.size]
    with np.errstate(over="ignore", invalid="ignore"):
        total = sum_by(usd[layout.cell_bucket] * per_usd, layout.cell_group, a.groups)
        share = found.portion * (slope[layout.cell_bucket] * per_usd)[mine]
    return Part(im=total, mm=total, share_im=share, share_mm=share)


def _charged(
    frame: Frame,
    layout: _Layout,
    some: Ints,
    charge: Callable[[Ints, Floats, Floats], tuple[Floats, Floats]],
    size: Floats,
    price: Floats,
) -> tuple[Floats, Floats]:
    """Charge some buckets; where accounts that are refused are noted, key by key."""
    keys = layout.bucket_key[some]
    if frame.faults is None:
        return charge(keys, size, price)
    a = frame.arrangement
    pot = np.zeros(layout.bucket_key.size, dtype=np.int64)
    pot[layout.cell_bucket] = a.group_pot[layout.cell_group]
    value, grows = np.zeros(some.size), np.zeros(some.size)
    for key in distinct(keys).tolist():
        mine = np.flatnonzero(keys == key)
        nothing = np.full(mine.size, np.nan)
        value[mine], grows[mine] = attempt(
            frame,
            pot[some[mine]],
            lambda mine=mine: charge(keys[mine], size[mine], price[mine]),  # type: ignore[misc]
            (nothing, nothing),
        )
    return value, grows
