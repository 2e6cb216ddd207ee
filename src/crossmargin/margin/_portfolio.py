"""Stages of portfolio margin beside the scan: parts, basis, minimum charge, de-peg, contracts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import RulesetError, invariant
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import bucket_rows, buckets
from crossmargin.margin._formula import Cross, Part, fill_extremes
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._lookup import Rules, look_up
from crossmargin.margin._scan import ScanResult, scan_shares, worst_column
from crossmargin.margin.components import (
    Basis,
    ChargeRule,
    Factor,
    MinimumCharge,
    ProductOffset,
    Scan,
    ScanPart,
    Unpublished,
)

if TYPE_CHECKING:
    from crossmargin.margin._stages import Stage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
T = TypeVar("T")


def same(value: Floats, share: Floats, cross: Cross | None = None) -> Part:
    """Return a component that is equal for initial and maintenance margin."""
    return Part(im=value, mm=value, share_im=share, share_mm=share, cross=cross)


def not_published(frame: Frame, field: str, what: str, hint: str) -> RulesetError:
    """Return the refusal of an account that needs a figure without a source."""
    return RulesetError(
        f"{what} of rule-set {frame.ruleset.id!r} is not published, and the account needs it",
        code="RUL-030",
        field=field,
        hint=hint,
    )


def by_underlying(table: dict[str, T], frame: Frame, asset: int) -> T | None:
    """Look parameters up by an underlying, then ``default``."""
    found = table.get(frame.book.registry.assets[asset])
    return found if found is not None else table.get("default")


def group_rules(frame: Frame, groups: Ints, find: Callable[[int], T]) -> Rules[T]:
    """Look the parameters of some groups up by their underlying; see :func:`look_up`."""
    a = frame.arrangement
    return look_up(frame, a.group_underlying[groups], a.group_pot[groups], find)


def needed(table: dict[str, T], frame: Frame, asset: int, component: str) -> T:
    """Look parameters up by an underlying that cannot do without.

    Raises
    ------
    RulesetError
        ``RUL-011`` when the rule-set has none.
    """
    found = by_underlying(table, frame, asset)
    if found is not None:
        return found
    name = frame.book.registry.assets[asset]
    raise RulesetError(
        f"rule-set {frame.ruleset.id!r} has no {component} parameters for {name}",
        code="RUL-011",
        field=f"components.{component}.underlyings.{name}",
        hint="supply them with --params",
    )


def live_kinds(frame: Frame, instrument: Ints, kinds: tuple[str, ...]) -> Bools:
    """Return which rows are of these kinds and have not expired."""
    codes = [KIND_CODE[k] for k in kinds]  # type: ignore[index]
    kept = np.isin(frame.terms.kind[instrument], codes) & ~frame.view.settled[instrument]
    return np.asarray(kept, dtype=np.bool_)


def own_index(frame: Frame, instrument: Ints, group: Ints) -> Floats:
    """Index price of each row's own underlying in its pot's numeraire."""
    usd = frame.asset_usd_or_one[frame.terms.underlying[instrument]]
    return np.asarray(usd / frame.pot_usd[frame.arrangement.group_pot[group]], dtype=np.float64)


def group_index(frame: Frame) -> Floats:
    """Index price of each group's underlying in its pot's numeraire."""
    a = frame.arrangement
    usd = frame.asset_usd_or_one[a.group_underlying]
    return np.asarray(usd / frame.pot_usd[a.group_pot], dtype=np.float64)


def rows_by_group(frame: Frame) -> list[Ints]:
    """Return the positions of each group, worked out once."""

    def split() -> list[Ints]:
        a = frame.arrangement
        order = np.argsort(a.position_group, kind="stable")
        ends = np.cumsum(np.bincount(a.position_group, minlength=a.groups))
        return np.split(order, ends[:-1]) if a.groups else []

    return frame.once("rows_by_group", split)


def sum_by_kind(frame: Frame, amount: Floats, kind: Ints, group: Ints, count: int) -> Floats:
    """Sum amounts by kind and group, shape ``[count, G]``; kinds below 0 are left out."""
    groups = frame.arrangement.groups
    key = np.where(kind >= 0, kind * groups + group, -1)
    return sum_by(amount, key, count * groups).reshape(count, groups)


def leg_sums(frame: Frame, amount: Floats) -> tuple[Floats, Floats]:
    """Sum by group what order legs could add and take, each at least 0."""
    a = frame.arrangement
    return (
        sum_by(np.maximum(amount, 0.0), a.leg_group, a.groups),
        sum_by(np.maximum(-amount, 0.0), a.leg_group, a.groups),
    )


# ---- parts of the scan -------------------------------------------------------------------


def the_scan(frame: Frame, scan: ScanResult | None) -> tuple[Scan, ScanResult]:
    """Return the scan of a stage that cannot do without."""
    spec = frame.ruleset.scan
    invariant(spec is not None and scan is not None, "a stage over scan vectors without a scan")
    assert spec is not None
    assert scan is not None
    return spec, scan


def run_scan_part(spec: ScanPart, stage: Stage) -> Part:
    """Worst loss over the named blocks of the scan."""
    frame = stage.frame
    scan_spec, scan = the_scan(frame, stage.scan)
    seen = np.array([name in spec.blocks for name in frame.table.scenarios.block], dtype=np.bool_)
    margin, column = worst_column(np.where(seen, scan.vector, np.inf))
    if not frame.shares or np.array_equal(column, scan.binding):
        p, b = scan.position_share, scan.balance_share
        return Part(margin, margin, p, p, b, b)
    ((share, balance),) = scan_shares(scan_spec, frame, stage.quantity, stage.amount, column)
    return Part(margin, margin, share, share, balance, balance)


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
    _, scan = the_scan(frame, stage.scan)
    products = _products(spec, frame)
    credit = np.zeros(a.groups)
    if not products.groups.size:
        return same(credit, np.zeros(stage.quantity.size))
    mine, of, offset = products.groups, products.of, products.offset[products.of]
    v = scan.vector[mine]
    counted = sum_by(np.where(v > 0, offset[:, None] * v, v), of, products.offset.size)
    point = np.argmin(counted, axis=1)
    here = v[np.arange(mine.size), point[of]]
    loss = np.maximum(0.0, -here)
    whole = sum_by(loss, of, products.offset.size)
    gains = sum_by(np.maximum(here, 0.0), of, products.offset.size)
    charge = np.maximum(0.0, whole - products.offset * gains)
    part = np.divide(charge, whole, out=np.zeros(whole.size), where=(charge > 0) & (whole > 0))
    credit[mine] = scan.margin[mine] - part[of] * loss
    if not frame.shares:
        return same(credit, np.zeros(stage.quantity.size))
    share, cross = _product_shares(stage, products, point, part)
    return same(credit, share, cross)


def _product_shares(
    stage: Stage, products: _Products, point: Ints, part: Floats
) -> tuple[Floats, Cross | None]:
    """Return what positions contribute to the credit of their own and of other groups."""
    frame = stage.frame
    a = frame.arrangement
    scan_spec, scan = the_scan(frame, stage.scan)
    share = np.zeros(stage.quantity.size)
    column = np.full(a.groups, -1, dtype=np.int64)
    column[products.groups] = point[products.of]
    ((position, _),) = scan_shares(scan_spec, frame, stage.quantity, stage.amount, column)
    cross: list[tuple[Ints, Ints, Floats]] = []
    for product, (ratio, offset) in enumerate(zip(part.tolist(), products.offset.tolist())):
        mine = products.groups[products.of == product]
        v = scan.vector[mine, point[product]]
        loss = np.maximum(0.0, -v)
        rows = np.concatenate([rows_by_group(frame)[g] for g in mine])
        place = np.searchsorted(mine, a.position_group[rows])
        share[rows] += scan.position_share[rows]
        if ratio <= 0.0:
            continue
        # d(part·L_g) = part·dL_g + L_g/T·(dR − part·dT), with dR = dL at losers, offset·d(−v) else.
        loses = v[place] < 0
        bears = position[rows]
        d_ratio = np.where(loses, (1.0 - ratio) * bears, offset * bears) / loss.sum()
        share[rows] -= np.where(loses, ratio * bears + loss[place] * d_ratio, 0.0)
        for g, group in enumerate(mine):
            if loss[g] > 0.0:
                other = place != g
                cross.append(
                    (rows[other], np.full(int(other.sum()), group), -loss[g] * d_ratio[other])
                )
    if not cross:
        return share, None
    return share, Cross(*(np.concatenate(c) for c in zip(*cross)))


@dataclass(frozen=True, slots=True)
class _Products:
    """Products that have more than one group in a pot.

    Attributes
    ----------
    groups, of : int64[K]
        Groups that take part, ascending by product, and the product each stands in.
    offset : float64[J]
        By product.
    """

    groups: Ints
    of: Ints
    offset: Floats


def _products(spec: ProductOffset, frame: Frame) -> _Products:
    """Return the products of each pot that have more than one group there."""

    def find() -> _Products:
        a = frame.arrangement
        names = frame.book.registry.assets
        place = {n: k for k, product in enumerate(spec.products) for n in product.members}
        product = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        product = product[a.group_underlying]
        key = a.group_pot * max(len(spec.products), 1) + product
        groups = np.flatnonzero(product >= 0)
        groups = groups[np.argsort(key[groups], kind="stable")]
        first, of = buckets(key[groups])
        several = np.bincount(of, minlength=first.size) > 1
        groups, of = groups[several[of]], (np.cumsum(several) - 1)[of[several[of]]]
        offsets = np.array([p.offset for p in spec.products] or [0.0])
        chosen = product[groups]
        offset = np.zeros(int(several.sum()))
        offset[of] = offsets[chosen]
        return _Products(groups, of, offset)

    return frame.once(f"products_{spec.name}", find)


# ---- basis -------------------------------------------------------------------------------


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
    first, bucket = bucket_rows(group, frame.expiry_number[instrument])
    owner, count = group[first], first.size
    n = quantity.size
    unit = frame.unit_delta[instrument] * own_index(frame, instrument, group)
    unit = np.where(terms.kind[instrument] == KIND_CODE["spot"], 0.0, unit)
    years = np.zeros(count)
    years[bucket] = np.where(
        np.isinf(frame.view.years[instrument]), 0.0, frame.view.years[instrument]
    )
    delta = quantity * unit[:n]
    net = sum_by(delta, bucket[:n], count)
    rules = group_rules(
        frame, owner, lambda asset: needed(spec.underlyings, frame, asset, spec.name)
    )
    rate = np.maximum(rules.column(lambda r: r.floor), rules.column(lambda r: r.annual) * years)
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


# ---- minimum charge ----------------------------------------------------------------------


def progressive(
    amount: Floats, floors: Sequence[float], rates: Sequence[float]
) -> tuple[Floats, Floats]:
    """Return Σ of slices × rates, and the rate of the slice in which each amount ends.

    The floor itself belongs to the lower slice.

    Parameters
    ----------
    amount : float64[...]
        At least 0.
    floors, rates : sequence of float
        Where each slice begins, ascending, and its rate.
    """
    total, slope = np.zeros(np.shape(amount)), np.full(np.shape(amount), rates[0])
    for place, (low, rate) in enumerate(zip(floors, rates)):
        high = floors[place + 1] if place + 1 < len(floors) else np.inf
        inside = amount > low
        total += np.where(inside, (np.minimum(amount, high) - low) * rate, 0.0)
        slope = np.where(inside, rate, slope)
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
    first, row = buckets(a.position_group * len(book.registry) + instrument)
    owner = a.position_group[first]
    delta = quantity * unit
    net = sum_by(delta, row, first.size)
    size, alone = np.abs(net), np.zeros(a.groups)
    if orders and book.leg_order.size:
        buy, sell, legs, alone_buy, alone_sell = fill_extremes(frame)
        for change in (buy, -sell):
            size = np.maximum(size, np.abs(sum_by((quantity + change) * unit, row, first.size)))
        own = own_index(frame, book.leg_instrument[legs], a.leg_group[legs])
        own = np.abs(frame.unit_delta[book.leg_instrument[legs]]) * own
        own = np.where(terms.kind[book.leg_instrument[legs]] == KIND_CODE["spot"], 0.0, own)
        alone = sum_by(np.maximum(alone_buy, alone_sell) * own, a.leg_group[legs], a.groups)
    gross = sum_by(size, owner, a.groups) + alone
    value, slope = np.zeros(a.groups), np.zeros(a.groups)
    some = np.flatnonzero(gross > 0)
    rules = group_rules(frame, some, lambda asset: _charge_rule(spec, frame, asset))
    for place, rule in enumerate(rules.found):
        mine = some[rules.place == place]
        usd = frame.pot_usd[a.group_pot[mine]]
        charged, last = progressive(
            rule.rate * gross[mine] * usd,
            [band.floor for band in rule.bands],
            [band.multiplier for band in rule.bands],
        )
        value[mine], slope[mine] = charged / usd, last * rule.rate
    share = delta * np.sign(net)[row] * slope[a.position_group]
    return same(value, share)


def _charge_rule(spec: MinimumCharge, frame: Frame, asset: int) -> ChargeRule:
    rule = by_underlying(spec.underlyings, frame, asset)
    if rule is not None and rule.bands:
        return rule
    name = frame.book.registry.assets[asset]
    raise not_published(
        frame,
        f"components.{spec.name}.underlyings.{name}",
        f"the {spec.name} of {name}",
        "supply its rate and bands with --params",
    )


# ---- what is not published ---------------------------------------------------------------


def run_unpublished(spec: Unpublished, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Nothing, where no account needs it or the user lets it be left out; else a refusal.

    Raises
    ------
    RulesetError
        ``RUL-030`` when the account holds, or has ordered, what it applies to.
    """
    book = frame.book
    touched = live_kinds(frame, book.position_instrument, spec.kinds) & (
        book.position_quantity != 0.0
    )
    ordered = live_kinds(frame, book.leg_instrument, spec.kinds)
    a = frame.arrangement
    if not spec.left_out:
        pots = np.concatenate([a.position_pot[touched], a.group_pot[a.leg_group[ordered]]])
        frame.refuse(
            pots,
            lambda _: not_published(
                frame,
                f"components.{spec.name}.left_out",
                f"the {spec.name} charge on {'s, '.join(spec.kinds)}s",
                f"leave it out knowingly with --set components.{spec.name}.left_out=true",
            ),
        )
    return same(np.zeros(a.groups), np.zeros(quantity.size))


def run_factor(spec: Factor, frame: Frame, quantity: Floats, *, orders: bool) -> Part:
    """Return a figure for the expression, the same for every group.

    Raises
    ------
    RulesetError
        ``RUL-030`` when the account holds or has ordered anything and it is not published.
    """
    a = frame.arrangement
    if spec.value is None:
        frame.refuse(
            a.group_pot,
            lambda _: not_published(
                frame,
                f"components.{spec.name}.value",
                f"the {spec.name}",
                f"supply it, for example --set components.{spec.name}.value=1.2",
            ),
        )
    return same(np.full(a.groups, spec.value or 0.0), np.zeros(quantity.size))
