"""Margin against size: brackets, effective rates, and where one more unit costs a jump.

Source: requirements row B12 (marginal brackets are continuous and convex; the jump of a
whole-notional scheme is shown as such), row A11 for the two schemes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.book import AccountFile
from crossmargin.errors import InputError, RulesetError
from crossmargin.instruments import Instrument, parse_instrument
from crossmargin.margin._formula import (
    netted_contracts,
    pick_rule,
    rule_keys,
    tier_margin,
)
from crossmargin.margin._frame import Frame
from crossmargin.margin.components import RateMargin, Slope, Tier
from crossmargin.margin.ruleset import Ruleset

Floats = NDArray[np.float64]

#: Sizes in coins at which a sloping rate is shown when none are asked for.
_COINS = (1.0, 10.0, 100.0, 1_000.0)


def effective_rates(
    size: ArrayLike, rule: Sequence[Tier] | Slope, *, marginal: bool = True
) -> tuple[Floats, Floats]:
    """Return initial and maintenance margin as fractions of the notional, against size.

    Parameters
    ----------
    size : array_like
        Notionals in US dollars under brackets, coins under a slope; at least 0.
    rule : list of Tier, or Slope
        Brackets with ascending floors, or a rate that rises with size.
    marginal : bool
        Of brackets: slice by slice, or the whole notional at its bracket's rate.

    Returns
    -------
    im, mm : float64[...]
        At a size of 0 the rate of the first unit.

    Raises
    ------
    InputError
        ``INP-004`` when a size is negative or not finite.
    """
    x = np.asarray(size, dtype=np.float64)
    if not (np.isfinite(x).all() and (x >= 0).all()):
        raise InputError("a size is not a number of at least 0", code="INP-004", field="size")
    if isinstance(rule, Slope):
        return rule.im + rule.per_coin * x, rule.mm + rule.per_coin * x
    tiers = list(rule)
    im, mm = tier_margin(x, tiers, marginal=marginal)
    some = x > 0
    first_im, first_mm = np.full(x.shape, tiers[0].im), np.full(x.shape, tiers[0].mm)
    return (
        np.divide(im, x, out=first_im, where=some),
        np.divide(mm, x, out=first_mm, where=some),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One bracket, and what crossing into it costs.

    Attributes
    ----------
    floor_usd : float
        Notional from which it applies; the floor itself belongs to the bracket below.
    im, mm : float
        Rates of the bracket.
    im_usd, mm_usd : float
        Margin of a notional of exactly the floor.
    effective_im, effective_mm : float
        The same as fractions of the notional.
    jump_im_usd, jump_mm_usd : float
        What the first unit beyond the floor adds at once: 0 in a marginal scheme.
    """

    floor_usd: float
    im: float
    mm: float
    im_usd: float
    mm_usd: float
    effective_im: float
    effective_mm: float
    jump_im_usd: float
    jump_mm_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """Margin of one size.

    Attributes
    ----------
    size : float
        In the table's unit.
    effective_im, effective_mm : float
        Fractions of the notional.
    leverage : float or None
        Most leverage the initial margin leaves, ``1 / effective_im``; None where nothing is
        charged.
    """

    size: float
    effective_im: float
    effective_mm: float
    leverage: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTable:
    """Margin of one instrument against size, under one component.

    Attributes
    ----------
    component, scheme : str
        Name of the component; ``marginal``, ``whole`` or ``slope``.
    key : str
        Entry of the rule-set that serves the instrument.
    unit : {"USD", "coins"}
        Unit of sizes.
    brackets : list of Bracket
        Empty for a slope.
    sizes : list of SizeRow
        At the sizes asked for; by default at the floors and between them.
    source, confidence : str
        Of the component.
    """

    component: str
    scheme: str
    key: str
    unit: str
    brackets: list[Bracket]
    sizes: list[SizeRow]
    source: str
    confidence: str


def tier_tables(
    ruleset: Ruleset, instrument: str, sizes: Sequence[float] | None = None
) -> list[TierTable]:
    """Return margin against size of one instrument, for each component that charges it by rate.

    Parameters
    ----------
    ruleset : Ruleset
        The rules.
    instrument : str
        Perpetual or future, in any spelling.
    sizes : sequence of float, optional
        US dollars of notional (brackets) or coins (slope).

    Raises
    ------
    InputError
        ``INP-001`` unknown instrument, ``INP-004`` a size that is none.
    RulesetError
        ``RUL-011`` when no component charges it by rate.
    """
    item = parse_instrument(instrument)
    tables = []
    for spec in ruleset.data.components:
        if isinstance(spec, RateMargin) and item.kind in spec.kinds:
            keys = [k for k in rule_keys(item) if k in (spec.tiers or spec.slopes)]
            if keys:
                tables.append(_table(spec, keys[0], sizes))
    if not tables:
        raise _none(ruleset, item)
    return tables


def _none(ruleset: Ruleset, item: Instrument) -> RulesetError:
    kinds = sorted({type(spec).__struct_config__.tag for spec in ruleset.data.components})  # type: ignore[type-var]
    return RulesetError(
        f"rule-set {ruleset.id!r} charges {item.id} by no rate or bracket; its components are "
        + ", ".join(str(kind) for kind in kinds),
        code="RUL-011",
        instrument=item.id,
        hint=f"see what it charges instead: crossmargin rulesets show {ruleset.id}",
    )


def _table(spec: RateMargin, key: str, sizes: Sequence[float] | None) -> TierTable:
    brackets: list[Bracket] = []
    rule: Sequence[Tier] | Slope
    if spec.scheme == "slope":
        rule, shown = spec.slopes[key], list(sizes or _COINS)
    else:
        rule = spec.tiers[key]
        brackets = _brackets(rule, marginal=spec.scheme == "marginal")
        shown = list(sizes or _between([b.floor_usd for b in brackets]))
    im, mm = effective_rates(shown, rule, marginal=spec.scheme == "marginal")
    return TierTable(
        component=spec.name,
        scheme=spec.scheme,
        key=key,
        unit="coins" if spec.scheme == "slope" else "USD",
        brackets=brackets,
        sizes=[
            SizeRow(
                size=float(size),
                effective_im=float(i),
                effective_mm=float(m),
                leverage=1.0 / float(i) if i > 0 else None,
            )
            for size, i, m in zip(shown, im, mm)
        ],
        source=spec.source,
        confidence=spec.confidence,
    )


def _between(floors: list[float]) -> list[float]:
    """Return each floor and a size inside each bracket; the last reaches to twice its floor."""
    ends = [*floors[1:], 2.0 * floors[-1] or 1e6]
    out = []
    for low, high in zip(floors, ends):
        out += [0.5 * (low + high), high]
    return out


def _brackets(tiers: list[Tier], *, marginal: bool) -> list[Bracket]:
    floors = np.array([t.floor for t in tiers])
    im, mm = tier_margin(floors, tiers, marginal=marginal)
    rate_im, rate_mm = effective_rates(floors, tiers, marginal=marginal)
    out = []
    for row, tier in enumerate(tiers):
        below = tiers[max(row - 1, 0)]
        step = 0.0 if marginal else tier.floor
        out.append(
            Bracket(
                floor_usd=tier.floor,
                im=tier.im,
                mm=tier.mm,
                im_usd=float(im[row]),
                mm_usd=float(mm[row]),
                effective_im=float(rate_im[row]),
                effective_mm=float(rate_mm[row]),
                jump_im_usd=step * (tier.im - below.im),
                jump_mm_usd=step * (tier.mm - below.mm),
            )
        )
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The step that lies ahead of a position under a whole-notional scheme.

    Attributes
    ----------
    component, instrument : str
        What charges what.
    notional_usd : float
        Today's notional.
    floor_usd : float
        Notional at which the next bracket takes over.
    im_usd, mm_usd : float
        What the first unit beyond it adds at once, a leverage setting considered.
    """

    component: str
    instrument: str
    notional_usd: float
    floor_usd: float
    im_usd: float
    mm_usd: float


def next_jumps(frame: Frame) -> list[Jump]:
    """Return the next step of every contract that a whole-notional scheme charges.

    Contracts in their last bracket, and brackets of equal rates, have none.
    """
    out = []
    for spec in frame.ruleset.data.components:
        if not isinstance(spec, RateMargin) or "whole" not in (spec.scheme, spec.im_scheme):
            continue
        found = netted_contracts(spec, frame, frame.book.position_quantity)
        rows = zip(found.instrument, found.leverage, found.notional_usd, found.unit_usd)
        for index, leverage, usd, unit in rows:
            tiers = pick_rule(spec.tiers, frame, int(index), spec.name)
            above = [t for t in tiers if t.floor * unit >= usd and t.floor > 0]
            if not above or usd == 0:
                continue
            tier = above[0]
            below = tiers[tiers.index(tier) - 1]
            floor = float(tier.floor * unit)
            least = 1.0 / leverage if spec.use_leverage and not np.isnan(leverage) else 0.0
            whole = (spec.im_scheme or spec.scheme) == "whole", spec.scheme == "whole"
            jump = Jump(
                component=spec.name,
                instrument=frame.book.registry[int(index)].id,
                notional_usd=float(usd),
                floor_usd=floor,
                im_usd=whole[0] * floor * float(max(tier.im, least) - max(below.im, least)),
                mm_usd=whole[1] * floor * (tier.mm - below.mm),
            )
            if jump.im_usd or jump.mm_usd:
                out.append(jump)
    return out


def size_notes(frame: Frame, account: AccountFile) -> list[str]:
    """Say where size costs what the figures of this statement do not show."""
    out = [
        f"{jump.instrument} (notional {jump.notional_usd:,.0f} USD): one unit more than "
        f"{jump.floor_usd:,.0f} USD puts the whole notional into the next bracket of "
        f"{jump.component!r}, a jump of {jump.im_usd:,.2f} USD in IM and {jump.mm_usd:,.2f} USD "
        "in MM."
        for jump in next_jumps(frame)
    ]
    if frame.ruleset.by_owner and account.owner not in (None, account.account):
        out.append(
            f"Charges for size are on what the owner {account.owner!r} holds in all accounts: "
            "here only this account is counted."
        )
    return out
