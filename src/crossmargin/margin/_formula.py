"""Margin by rate, position by position; what the option formula shares with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE, Instrument, deribit_name
from crossmargin.margin._arrange import buckets
from crossmargin.margin._frame import Frame, least_by, sum_by
from crossmargin.margin._lookup import attempt
from crossmargin.margin._rate_laws import open_interest_margin, root_margin, weighted_margin
from crossmargin.margin.components import (
    OpenInterestRate,
    PerpWeights,
    RateMargin,
    RootRate,
    Tier,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")

#: Components that charge a rate of each position's notional; the first three take a leverage too.
Rates = RateMargin | RootRate | OpenInterestRate
RateKind = Rates | PerpWeights


@dataclass(frozen=True, slots=True)
class Cross:
    """What positions contribute to the component of groups that are not their own.

    Attributes
    ----------
    position, group : int64[X]
        The position, and the group whose component it moves.
    value : float64[X]
        ``q·∂/∂q``, the same for initial and maintenance margin.
    """

    position: Ints
    group: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class Part:
    """Outcome of one component.

    Attributes
    ----------
    im, mm : float64[G]
        Requirement per group in the pot's numeraire, at least 0.
    share_im, share_mm : float64[N]
        ``q·∂/∂q`` of each position: what it contributes at the margin.
    balance_im, balance_mm : float64[B] or None
        The same for balances that take part; None where none does.
    cross : Cross or None
        Contributions to other groups, for components that look across groups.
    """

    im: Floats
    mm: Floats
    share_im: Floats
    share_mm: Floats
    balance_im: Floats | None = None
    balance_mm: Floats | None = None
    cross: Cross | None = None


def rule_keys(instrument: Instrument) -> tuple[str, str, str]:
    """Return where parameters are looked up: market stem (``BTC_USDC``), underlying, default."""
    name = deribit_name(instrument) or instrument.id
    return name.split("-")[0], instrument.underlying, "default"


def pick_rule(table: dict[str, T], frame: Frame, index: int, component: str) -> T:
    """Look parameters up by market stem, underlying, then ``default``.

    Raises
    ------
    RulesetError
        ``RUL-011`` when the file has none of them.
    """
    # Names are parsed once: the same contract is looked up for every question.
    known: dict[int, tuple[str, str, str]] = frame.once("rule_keys", dict)
    keys = known.get(index)
    if keys is None:
        keys = known[index] = rule_keys(frame.book.registry[index])
    market = keys[0]
    for key in keys:
        if key in table:
            return table[key]
    raise RulesetError(
        f"rule-set {frame.ruleset.id!r} has no {component} parameters for {market}",
        code="RUL-011",
        instrument=frame.book.registry[index].id,
        field=f"components.{component}",
        hint="supply them with --set or --params, or use a rule-set that covers this market",
    )


def tier_rates(tiers: list[Tier]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return floors, IM and MM rates and their cumulative deductions.

    The deduction makes marginal brackets one multiplication:
    ``margin = notional·rate[n] − cum[n]`` with ``cum[n] = cum[n−1] + floor[n]·(rate[n] −
    rate[n−1])`` (Binance FAQ ceccfcfb4e3a45e3b48b0b1bb1a8ae46; the same numbers as adding the
    slices up).
    """
    floor = np.array([t.floor for t in tiers])
    im, mm = np.array([t.im for t in tiers]), np.array([t.mm for t in tiers])
    cum_im = np.concatenate([[0.0], np.cumsum(floor[1:] * np.diff(im))])
    cum_mm = np.concatenate([[0.0], np.cumsum(floor[1:] * np.diff(mm))])
    return floor, im, mm, cum_im, cum_mm


def tier_margin(notional: Floats, tiers: list[Tier], *, marginal: bool) -> tuple[Floats, Floats]:
    """Return IM and MM of notionals under brackets.

    Parameters
    ----------
    notional : float64[...]
        At least 0.
    tiers : list of Tier
        Ascending floors, the first 0.
    marginal : bool
        Slice by slice (continuous, convex), or the whole notional at the bracket's rate (jumps
        at the floors; the floor itself belongs to the lower bracket).
    """
    floor, im, mm, cum_im, cum_mm = tier_rates(tiers)
    n = np.maximum(np.searchsorted(floor, notional, side="left") - 1, 0)
    if not marginal:
        return notional * im[n], notional * mm[n]
    return notional * im[n] - cum_im[n], notional * mm[n] - cum_mm[n]


def rows_of(frame: Frame, kinds: list[str]) -> Ints:
    terms = frame.terms
    codes = [KIND_CODE[k] for k in kinds]  # type: ignore[index]
    instrument = frame.book.position_instrument
    return np.flatnonzero(np.isin(terms.kind[instrument], codes) & ~frame.view.settled[instrument])


def _contract_values(
    spec: RateKind, frame: Frame, instrument: Ints, quantity: Floats
) -> tuple[Floats, Floats]:
    """Return |coins| and notional in the settlement asset, by row."""
    coins = np.abs(quantity) * frame.unit_coins[instrument]
    quoted = frame.index_quote if spec.price == "index" else frame.view.price
    return coins, coins * np.where(frame.terms.inverse[instrument], 1.0, quoted[instrument])


def _rate_margin(
    spec: RateKind, frame: Frame, instrument: Ints, pot: Ints, quantity: Floats, leverage: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return IM, MM and their ``q·∂/∂q`` in the settlement asset, by row."""
    coins, value = _contract_values(spec, frame, instrument, quantity)
    out = np.zeros((4, instrument.size))
    order = np.argsort(instrument.astype(np.uint32), kind="stable")
    ends = np.flatnonzero(np.diff(instrument[order])) + 1
    for rows in np.split(order, ends) if order.size else []:
        index = int(instrument[rows[0]])
        out[:, rows] = attempt(
            frame,
            pot[rows],
            lambda mine=rows, index=index: _one_market(  # type: ignore[misc]
                spec, frame, index, pot[mine], coins[mine], value[mine], quantity[mine] > 0
            ),
            np.zeros((4, 1)),
        )
    if not isinstance(spec, PerpWeights) and spec.use_leverage:
        least = np.where(np.isnan(leverage), 0.0, value / leverage)
        binds = least > out[0]
        out[0] = np.where(binds, least, out[0])
        out[2] = np.where(binds, least, out[2])
    return out[0], out[1], out[2], out[3]


def _one_market(
    spec: RateKind,
    frame: Frame,
    index: int,
    pot: Ints,
    coins: Floats,
    value: Floats,
    long: NDArray[np.bool_],
) -> Floats:
    """Return the four columns for rows of one instrument, shape ``[4, n]``."""
    if isinstance(spec, PerpWeights):
        rule = pick_rule(spec.markets, frame, index, spec.name)
        return weighted_margin(spec, frame, index, rule, value, long)
    return _market_margin(spec, frame, index, pot, coins, value)


def _market_margin(
    spec: RateMargin | RootRate | OpenInterestRate,
    frame: Frame,
    index: int,
    pot: Ints,
    coins: Floats,
    value: Floats,
) -> Floats:
    """Return the same for rows of one instrument, shape ``[4, n]``."""
    if isinstance(spec, RootRate):
        return root_margin(spec, pick_rule(spec.markets, frame, index, spec.name), coins, value)
    if isinstance(spec, OpenInterestRate):
        tier = spec.tiers[pick_rule(spec.markets, frame, index, spec.name)]
        return open_interest_margin(spec, frame, index, tier, value)
    if spec.scheme == "slope":
        slope = pick_rule(spec.slopes, frame, index, spec.name)
        grown = slope.per_coin * coins
        im, mm = (slope.im + grown) * value, (slope.mm + grown) * value
        return np.stack(
            [im, mm, (slope.im + 2.0 * grown) * value, (slope.mm + 2.0 * grown) * value]
        )
    tiers = pick_rule(spec.tiers, frame, index, spec.name)
    per = _unit_per_settlement(spec, frame, index, coins, value)
    _require_known(frame, index, tiers, value * per, pot, spec)
    return _tiered(spec, tiers, value, per)


def _tiered(spec: RateMargin, tiers: list[Tier], value: Floats, per: Floats) -> Floats:
    """Margin by brackets, in the unit the brackets are stated in and back."""
    size = value * per
    im, mm = tier_margin(size, tiers, marginal=spec.scheme == "marginal")
    if spec.im_scheme is not None:
        im, _ = tier_margin(size, tiers, marginal=spec.im_scheme == "marginal")
    floor, rate_im, rate_mm, _, _ = tier_rates(tiers)
    n = np.maximum(np.searchsorted(floor, size, side="left") - 1, 0)
    return np.stack([im, mm, size * rate_im[n], size * rate_mm[n]]) / per


def _unit_per_settlement(
    spec: RateMargin, frame: Frame, index: int, coins: Floats, value: Floats
) -> Floats:
    """Return units of the brackets per unit of the settlement asset, by row."""
    if spec.unit == "coin":
        return np.divide(coins, value, out=np.ones_like(value), where=value > 0)
    usd = float(frame.view.asset_usd[frame.terms.settlement[index]])
    return np.full_like(value, usd if spec.unit == "USD" else 1.0)


def bracket_jumps(frame: Frame, quantity: Floats) -> Floats:
    """Return where a requirement jumps while quantities grow in proportion from 0 to 1.

    These are the floors of brackets that take a whole position, as shares of its size.
    """
    found: list[float] = []
    for spec in frame.ruleset.data.components:
        if not isinstance(spec, RateMargin) or "whole" not in (spec.scheme, spec.im_scheme):
            continue
        held = netted_contracts(spec, frame, quantity)
        for index, usd, unit in zip(held.instrument.tolist(), held.notional_usd, held.unit_usd):
            floors = [t.floor * unit for t in pick_rule(spec.tiers, frame, index, spec.name)]
            found += [float(floor / usd) for floor in floors if 0 < floor < usd]
    return np.unique(found)


def _require_known(
    frame: Frame, index: int, tiers: list[Tier], size: Floats, pot: Ints, spec: RateMargin
) -> None:
    """Refuse positions beyond the end of the published brackets."""
    end = tiers[-1].known_to
    if end is None:
        return
    rows = np.flatnonzero(size > end)
    # Of an account's positions the largest is named.
    rows = rows[np.argsort(-size[rows], kind="stable")]

    def reason(row: int) -> RulesetError:
        market = rule_keys(frame.book.registry[index])[0]
        return RulesetError(
            f"the brackets of {market} in rule-set {frame.ruleset.id!r} are known up to "
            f"{end:,.10g}, and the position is {size[rows[row]]:,.10g}",
            code="RUL-013",
            instrument=frame.book.registry[index].id,
            field=f"components.{spec.name}.tiers",
            hint="supply the venue's whole table with --params",
        )

    frame.refuse(pot[rows], reason)


def fill_extremes(frame: Frame) -> tuple[Floats, Floats, Ints, Floats, Floats]:
    """Return what orders could add to and take from each position, and orders standing alone.

    Returns
    -------
    buy, sell : float64[N]
        Quantity that fills could add to, and take from, each position.
    alone : int64[M]
        Rows of legs' first occurrence per (group, instrument) without a position.
    alone_buy, alone_sell : float64[M]
        The same for those.
    """
    book, a = frame.book, frame.arrangement
    width = len(book.registry)
    held, row = np.unique(a.position_group * width + book.position_instrument, return_index=True)
    key = a.leg_group * width + book.leg_instrument
    place = np.minimum(np.searchsorted(held, key), max(held.size - 1, 0))
    covered = held[place] == key if held.size else np.zeros(key.size, dtype=bool)
    bought, sold = np.maximum(frame.leg_quantity, 0.0), np.maximum(-frame.leg_quantity, 0.0)
    size, target = book.position_instrument.size, row[place[covered]]
    _, first, lone = np.unique(key[~covered], return_index=True, return_inverse=True)
    # In the order in which they first appear.
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    return (
        sum_by(bought[covered], target, size),
        sum_by(sold[covered], target, size),
        np.flatnonzero(~covered)[first[order]],
        sum_by(bought[~covered], rank[lone], order.size),
        sum_by(sold[~covered], rank[lone], order.size),
    )


@dataclass(frozen=True, slots=True)
class Netted:
    """Rows netted by group and instrument: legs of one contract margin as one position."""

    row: Ints
    group: Ints
    instrument: Ints
    quantity: Floats
    leverage: Floats
    rate: Floats

    pot: Ints

    def sum(self, values: Floats) -> Floats:
        return sum_by(values, self.row, self.group.size)


def netted(frame: Frame, rows: Ints, quantity: Floats) -> Netted:
    a, book = frame.arrangement, frame.book
    instrument, group = book.position_instrument[rows], a.position_group[rows]
    first, row = buckets(group * len(book.registry) + instrument)
    given = np.nan_to_num(book.position_leverage[rows], nan=np.inf)
    if np.isinf(given).all():
        leverage = np.full(first.size, np.nan)
    else:
        leverage = least_by(given, row, first.size, np.inf)
        leverage = np.where(np.isinf(leverage), np.nan, leverage)
    return Netted(
        row=row,
        group=group[first],
        instrument=instrument[first],
        quantity=sum_by(quantity[rows], row, first.size),
        leverage=leverage,
        rate=frame.position_rate[rows][first],
        pot=a.group_pot[group[first]],
    )


@dataclass(frozen=True, slots=True)
class Contracts:
    """Contracts that a rate component charges, netted within their groups.

    Attributes
    ----------
    instrument : int64[J]
    leverage : float64[J]
        NaN where none is set.
    notional_usd : float64[J]
        As brackets see it.
    unit_usd : float64[J]
        US dollars per unit that the brackets are stated in.
    """

    instrument: Ints
    leverage: Floats
    notional_usd: Floats
    unit_usd: Floats


def netted_contracts(spec: RateMargin, frame: Frame, quantity: Floats) -> Contracts:
    """Return the contracts a rate component charges, with their notional in US dollars."""
    rows = rows_of(frame, list(spec.kinds))
    rows = rows[_applies(spec, frame, frame.book.position_instrument[rows])]
    net = netted(frame, rows, quantity)
    coins, value = _contract_values(spec, frame, net.instrument, net.quantity)
    usd = np.asarray(value * frame.view.asset_usd[frame.terms.settlement[net.instrument]])
    units = np.array(
        [
            float(_unit_per_settlement(spec, frame, index, coins[k : k + 1], value[k : k + 1])[0])
            for k, index in enumerate(net.instrument.tolist())
        ]
    )
    per = np.divide(usd, value * units, out=np.ones_like(usd), where=value * units > 0)
    return Contracts(net.instrument, net.leverage, usd, per)


def spread(net: Netted, rows: Ints, quantity: Floats, slope: Floats) -> Floats:
    """Hand ``q·∂/∂q`` of the netted contract down to its rows, in proportion to quantity."""
    out = np.zeros(quantity.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        per_unit = np.where(net.quantity != 0, slope * net.rate / net.quantity, 0.0)
    out[rows] = quantity[rows] * per_unit[net.row]
    return out


def run_rate(spec: RateKind, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Rate times notional, per contract; with orders, after the worst fills of each.

    Rows of one contract in one group (hedge legs) are netted first. The requirement never falls
    as |quantity| grows, so the worst fill is either all buys or all sells of a contract, and
    that is what is compared; never both at once.
    """
    a, book = frame.arrangement, frame.book
    rows = rows_of(frame, list(spec.kinds))
    rows = rows[_applies(spec, frame, book.position_instrument[rows])]
    net = netted(frame, rows, quantity)
    held = net.instrument, net.pot
    im, mm, s_im, s_mm = _rate_margin(spec, frame, *held, net.quantity, net.leverage)
    extra = np.zeros((2, a.groups))
    if orders and book.leg_order.size:
        buy, sell, legs, alone_buy, alone_sell = fill_extremes(frame)
        for change in (net.sum(buy[rows]), -net.sum(sell[rows])):
            after = _rate_margin(spec, frame, *held, net.quantity + change, net.leverage)
            im, mm = np.maximum(im, after[0]), np.maximum(mm, after[1])
        extra = _alone(spec, frame, legs, alone_buy, alone_sell)
    return Part(
        im=sum_by(im * net.rate, net.group, a.groups) + extra[0],
        mm=sum_by(mm * net.rate, net.group, a.groups) + extra[1],
        share_im=spread(net, rows, quantity, s_im),
        share_mm=spread(net, rows, quantity, s_mm),
    )


def _applies(spec: RateKind, frame: Frame, instrument: Ints) -> NDArray[np.bool_]:
    """Whether a component takes each contract, by its settlement."""
    inverse: NDArray[np.bool_] = frame.terms.inverse[instrument]
    if not isinstance(spec, RateMargin) or spec.contracts == "all":
        return np.ones(instrument.size, dtype=bool)
    return inverse if spec.contracts == "inverse" else ~inverse


def _alone(spec: RateKind, frame: Frame, legs: Ints, buy: Floats, sell: Floats) -> Floats:
    """Charge orders in instruments that are not held, by group."""
    a, book = frame.arrangement, frame.book
    terms = frame.terms
    codes = [KIND_CODE[k] for k in spec.kinds]
    held = book.leg_instrument[legs]
    keep = np.isin(terms.kind[held], codes) & ~frame.view.settled[held]
    keep &= _applies(spec, frame, held)
    legs, held, none = legs[keep], held[keep], np.full(int(keep.sum()), np.nan)
    pot = a.group_pot[a.leg_group[legs]]
    bought = _rate_margin(spec, frame, held, pot, buy[keep], none)
    sold = _rate_margin(spec, frame, held, pot, -sell[keep], none)
    im, mm = np.maximum(bought[0], sold[0]), np.maximum(bought[1], sold[1])
    rate = frame.segment_rate[a.leg_segment[legs]]
    group = a.leg_group[legs]
    return np.stack([sum_by(im * rate, group, a.groups), sum_by(mm * rate, group, a.groups)])
