"""Product credit, basis and minimum charge, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._formula import Cross, Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._portfolio import not_published, own_index, rows_by_group, same, the_scan
from crossmargin.margin._scan import scan_shares
from crossmargin.margin._stages import Stage
from crossmargin.margin.components import Basis, ChargeRule, MinimumCharge, ProductOffset

from .formula import fill_extremes

if TYPE_CHECKING:
    from crossmargin.margin._stages import Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


def by_underlying(table: dict[str, T], frame: Frame, group: int) -> T | None:
    """Look parameters up by a group's underlying, then ``default``."""
    name = frame.book.registry.assets[int(frame.arrangement.group_underlying[group])]
    found = table.get(name)
    return found if found is not None else table.get("default")


def needed(table: dict[str, T], frame: Frame, group: int, component: str) -> T:
    found = by_underlying(table, frame, group)
    if found is not None:
        return found
    name = frame.book.registry.assets[int(frame.arrangement.group_underlying[group])]
    raise RulesetError(
        f"rule-set {frame.ruleset.id!r} has no {component} parameters for {name}",
        code="RUL-011",
        field=f"components.{component}.underlyings.{name}",
        hint="supply them with --params",
    )


def run_product_offset(spec: ProductOffset, stage: Stage) -> Part:
    """Credit between the groups of a product, point by point; see :class:`ProductOffset`.

    With v the profit and loss of group g at point s, ``φ(v) = v`` where it loses and
    ``offset·v`` where it gains, the product's charge is ``R = max(0, max_s −Σ_g φ(v_g,s))``. At
    that point group g bears ``R × L_g / Σ L`` of it, ``L = max(0, −v)``, and its credit is its own
    worst loss less that: at least 0, because ``R ≤ Σ L`` and ``L_g`` is no more than the worst.

    Source: OCC, TIMS (class group, product group, offset): structure read, figures recalled
    (clearing-practice section 1.3). How the charge falls on the groups is a house choice.
    """
    frame = stage.frame
    a = frame.arrangement
    scan_spec, scan = the_scan(frame, stage.scan)
    credit = np.zeros(a.groups)
    share = np.zeros(stage.quantity.size)
    column = np.full(a.groups, -1, dtype=np.int64)
    found = _products(spec, frame)
    for mine, offset in found:
        v = scan.vector[mine]
        column[mine] = int(np.argmin(np.where(v > 0, offset * v, v).sum(axis=0)))
    if not found:
        return same(credit, share)
    ((position, _),) = scan_shares(scan_spec, frame, stage.quantity, stage.amount, column)
    cross: list[tuple[Ints, Ints, Floats]] = []
    for mine, offset in found:
        v = scan.vector[mine, column[mine[0]]]
        loss = np.maximum(0.0, -v)
        whole = float(loss.sum())
        charge = max(0.0, whole - offset * float(np.maximum(v, 0.0).sum()))
        rows = np.concatenate([rows_by_group(frame)[g] for g in mine])
        place = np.searchsorted(mine, a.position_group[rows])
        own = scan.margin[mine]
        share[rows] += scan.position_share[rows]
        if charge <= 0.0 or whole <= 0.0:
            credit[mine] = own
            continue
        part = charge / whole
        credit[mine] = own - part * loss
        # d(part·L_g) = part·dL_g + L_g/T·(dR − part·dT), with dR = dL at losers, offset·d(−v) else.
        loses = v[place] < 0
        bears = position[rows]
        d_ratio = np.where(loses, (1.0 - part) * bears, offset * bears) / whole
        share[rows] -= np.where(loses, part * bears + loss[place] * d_ratio, 0.0)
        for g, group in enumerate(mine):
            if loss[g] > 0.0:
                other = place != g
                cross.append(
                    (rows[other], np.full(int(other.sum()), group), -loss[g] * d_ratio[other])
                )
    joined = None
    if cross:
        joined = Cross(*(np.concatenate(c) for c in zip(*cross)))
    return same(credit, share, joined)


def _products(spec: ProductOffset, frame: Frame) -> list[tuple[Ints, float]]:
    """Return the groups of each product that has more than one in a pot, and its offset."""

    def find() -> list[tuple[Ints, float]]:
        a = frame.arrangement
        names = frame.book.registry.assets
        place = {n: k for k, product in enumerate(spec.products) for n in product.members}
        product = np.array([place.get(names[u], -1) for u in a.group_underlying], dtype=np.int64)
        key = np.where(product < 0, -1, a.group_pot * max(len(spec.products), 1) + product)
        order = np.argsort(key, kind="stable")
        kinds, starts = np.unique(key[order], return_index=True)
        return [
            (mine, spec.products[int(k) % len(spec.products)].offset)
            for k, mine in zip(kinds, np.split(order, starts[1:]))
            if k >= 0 and mine.size > 1
        ]

    return frame.once(f"products_{spec.name}", find)


def run_basis(spec: Basis, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Basis between expiries: Σ over expiries of |net delta| × index × max(floor, annual × years).

    Contracts of one expiry net whatever they settle in. A perpetual takes the floor; spot has no
    basis. With orders each expiry takes the worse of all its delta-adding and all its
    delta-taking fills, as in ``roll``.

    Source: OKX, MR4 (article 4417291853837 and notices): annual figures published, the floor on
    a single perpetual inferred from the venue's examples; that the charge adds up over expiries
    is inferred.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    instrument = np.concatenate([book.position_instrument, book.leg_instrument])
    group = np.concatenate([a.position_group, a.leg_group])
    expiry = terms.expiry_ns[instrument]
    keys, bucket = np.unique(np.stack([group, expiry], axis=1), axis=0, return_inverse=True)
    bucket, owner, count = bucket.reshape(-1), keys[:, 0], keys.shape[0]
    n = quantity.size
    unit = frame.unit_delta[instrument] * own_index(frame, instrument, group)
    unit = np.where(terms.kind[instrument] == KIND_CODE["spot"], 0.0, unit)
    years = np.zeros(count)
    years[bucket] = np.where(
        np.isinf(frame.view.years[instrument]), 0.0, frame.view.years[instrument]
    )
    delta = quantity * unit[:n]
    net = sum_by(delta, bucket[:n], count)
    rate = np.zeros(count)
    for row in range(count):
        rule = needed(spec.underlyings, frame, int(owner[row]), spec.name)
        rate[row] = max(rule.floor, rule.annual * years[row])
    size = np.abs(net)
    if orders and book.leg_order.size:
        extra = frame.leg_quantity * unit[n:]
        pair, row_of = np.unique(book.leg_order * count + bucket[n:], return_inverse=True)
        together = sum_by(extra, row_of, pair.size)
        up = sum_by(np.maximum(together, 0.0), pair % count, count)
        down = sum_by(np.minimum(together, 0.0), pair % count, count)
        size = np.maximum(size, np.maximum(np.abs(net + up), np.abs(net + down)))
    share = delta * (np.sign(net) * rate)[bucket[:n]]
    return same(sum_by(size * rate, owner, a.groups), share)


def progressive(amount: float, floors: list[float], rates: list[float]) -> tuple[float, float]:
    """Return Σ of slices × rates, and the rate of the slice in which `amount` ends.

    The floor itself belongs to the lower slice.
    """
    total, slope = 0.0, rates[0]
    for place, (low, rate) in enumerate(zip(floors, rates)):
        high = floors[place + 1] if place + 1 < len(floors) else np.inf
        if amount > low:
            total += (min(amount, high) - low) * rate
            slope = rate
    return total, slope


def run_minimum_charge(
    spec: MinimumCharge, frame: Frame, quantity: Floats, *, orders: bool
) -> Part:
    """Progressive charge on size: bands over Σ |net delta of a contract| × index × rate.

    With orders, each contract after the worse of all its buys and all its sells.

    Source: OKX, MR7: bands mirrored (before 2025-01-15), raw rate inferred from single positions;
    that contracts are charged gross is inferred too.

    Raises
    ------
    RulesetError
        ``RUL-030`` when the account holds an underlying whose bands are not published.
    """
    a, book, terms = frame.arrangement, frame.book, frame.terms
    instrument = book.position_instrument
    unit = frame.unit_delta[instrument] * own_index(frame, instrument, a.position_group)
    unit = np.where(terms.kind[instrument] == KIND_CODE["spot"], 0.0, unit)
    pair = a.position_group * len(book.registry) + instrument
    keys, row = np.unique(pair, return_inverse=True)
    owner = keys // len(book.registry)
    delta = quantity * unit
    net = sum_by(delta, row, keys.size)
    size, alone = np.abs(net), np.zeros(a.groups)
    if orders and book.leg_order.size:
        buy, sell, legs, alone_buy, alone_sell = fill_extremes(frame)
        for change in (buy, -sell):
            size = np.maximum(size, np.abs(sum_by((quantity + change) * unit, row, keys.size)))
        own = own_index(frame, book.leg_instrument[legs], a.leg_group[legs])
        own = np.abs(frame.unit_delta[book.leg_instrument[legs]]) * own
        own = np.where(terms.kind[book.leg_instrument[legs]] == KIND_CODE["spot"], 0.0, own)
        alone = sum_by(np.maximum(alone_buy, alone_sell) * own, a.leg_group[legs], a.groups)
    gross = sum_by(size, owner, a.groups) + alone
    value, slope = np.zeros(a.groups), np.zeros(a.groups)
    for g in np.flatnonzero(gross > 0):
        rule = _charge_rule(spec, frame, int(g))
        usd = float(frame.pot_usd[a.group_pot[g]])
        charged, last = progressive(
            rule.rate * float(gross[g]) * usd,
            [band.floor for band in rule.bands],
            [band.multiplier for band in rule.bands],
        )
        value[g], slope[g] = charged / usd, last * rule.rate
    share = delta * np.sign(net)[row] * slope[a.position_group]
    return same(value, share)


def _charge_rule(spec: MinimumCharge, frame: Frame, group: int) -> ChargeRule:
    rule = by_underlying(spec.underlyings, frame, group)
    if rule is not None and rule.bands:
        return rule
    name = frame.book.registry.assets[int(frame.arrangement.group_underlying[group])]
    raise not_published(
        frame,
        f"components.{spec.name}.underlyings.{name}",
        f"the {spec.name} of {name}",
        "supply its rate and bands with --params",
    )
