"""Taking the number apart: standalone margins, components, groups, waterfall, greeks, notes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.book import LEGS, Book
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import USD, arrange
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._scan import run_scan
from crossmargin.margin.components import (
    Component,
    ContractCharge,
    ContractRate,
    DeltaConcentration,
    TailLeg,
)
from crossmargin.margin.engine import Requirement, requirement
from crossmargin.margin.ruleset import Ruleset
from crossmargin.margin.statement_types import ComponentLine, GroupLine, Step
from crossmargin.pricing import black76_greeks
from crossmargin.scenarios import VOL_STATES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PositionGreeks:
    """Sensitivities of each position, signed with the quantity.

    Attributes
    ----------
    delta : float64[N]
        Coins.
    net_transaction : float64[N]
        Delta less the option's value in coin (inverse options; else the delta).
    gamma : float64[N]
        Coins per 1 % move of the underlying.
    vega_usd : float64[N]
        US dollars per volatility point.
    theta_usd : float64[N]
        US dollars per day that passes.
    """

    delta: Floats
    net_transaction: Floats
    gamma: Floats
    vega_usd: Floats
    theta_usd: Floats


def position_greeks(frame: Frame) -> PositionGreeks:
    """Compute the sensitivities of all positions."""
    book, view = frame.book, frame.view
    terms = frame.terms
    index, q = book.position_instrument, book.position_quantity
    delta = q * frame.unit_delta[index]
    out = np.zeros((4, q.size))
    out[0] = delta
    rows = np.flatnonzero((terms.kind[index] == KIND_CODE["option"]) & ~view.settled[index])
    if rows.size:
        i = index[rows]
        forward = view.price[i]
        g = black76_greeks(forward, terms.strike[i], view.years[i], view.vol[i], terms.is_call[i])
        size = q[rows] * terms.contract_size[i]
        moving = view.price_variable[i] / forward
        quote_usd = frame.asset_usd_or_one[
            [book.registry.asset(book.registry[int(k)].quote) for k in i]
        ]
        value_coin = np.where(terms.inverse[i], g.price / forward, 0.0)
        out[0, rows] = delta[rows] - size * value_coin
        out[1, rows] = size * g.gamma * forward * 0.01 * moving**2
        out[2, rows] = size * g.vega * 0.01 * quote_usd
        out[3, rows] = size * g.theta / 365.0 * quote_usd
    return PositionGreeks(delta, out[0], out[1], out[2], out[3])


def one_each(book: Book) -> Book:
    """Return the positions of a book, each in an account of its own, without the rest."""
    n = book.position_pool.size
    none = np.empty(0, dtype=np.int64)
    nothing = np.empty(0)
    ids = [str(k) for k in range(n)]
    return replace(
        book,
        account_ids=ids,
        owners=ids,
        pool_account=np.arange(n, dtype=np.int64),
        pool_names=["cross"] * n,
        pool_mode=np.zeros(n, dtype=np.int64),
        balance_pool=none,
        balance_asset=none,
        balance_amount=nothing,
        balance_location=none,
        balance_proof_ns=none,
        balance_pending=np.empty(0, dtype=np.bool_),
        position_pool=np.arange(n, dtype=np.int64),
        order_pool=none,
        order_ids=[],
        order_group=none,
        leg_order=none,
        leg_instrument=none,
        leg_quantity=nothing,
        leg_price=nothing,
        group_pool=none,
        group_limit_usd=nothing,
        group_ids=[],
    )


@dataclass(frozen=True, slots=True)
class Standalone:
    """Margins of rows held alone, US dollars: positions first, then balances.

    Attributes
    ----------
    im : float64[N + B]
        Whole initial margin; balances that take no part in the scenarios have 0.
    main : float64[N + B]
        The scan alone, or everything where a rule-set has no scan.
    """

    im: Floats
    main: Floats


def standalone_margins(frame: Frame) -> Standalone:
    """Margin of each position in an account of its own, and of each stressed coin balance.

    Without charges whose law is not published: they may bind for a leg and not for the account.

    Coin balances count because they enter the account's scan too: leaving them out would
    compare a margin with coins against margins without.
    """
    book = one_each(frame.book)
    rules = frame.once("standalone_rules", lambda: _without_unpublished(frame.ruleset))
    alone = Frame(book, rules, arrange(book, rules), frame.view, frame.kernel, frame.entry)
    need = requirement(alone, levels=("im",))
    a = alone.arrangement
    account = book.pool_account[a.pot_pool]
    im = sum_by(need.im * alone.pot_usd, account, book.size)
    if alone.ruleset.scan is None:
        idle = np.zeros(frame.book.balance_amount.size)
        both = np.concatenate([im, idle])
        return Standalone(both, both)
    scan = need.parts[alone.ruleset.scan.name].im * alone.pot_usd[a.group_pot]
    coins = _standalone_balances(frame)
    return Standalone(
        np.concatenate([im, coins]),
        np.concatenate([sum_by(scan, account[a.group_pot], book.size), coins]),
    )


def _without_unpublished(ruleset: Ruleset) -> Ruleset:
    """Return the rule-set without concentration charges whose law is not published.

    A hedged book may be far below a threshold that its legs alone are beyond.
    """

    def lift(spec: Component) -> Component:
        if isinstance(spec, ContractCharge) and spec.unknown:
            return msgspec.structs.replace(spec, underlyings={"default": ContractRate()})
        if not isinstance(spec, DeltaConcentration) or spec.growth is not None:
            return spec
        free = {
            name: msgspec.structs.replace(rule, threshold_usd=np.inf)
            for name, rule in spec.underlyings.items()
        }
        return msgspec.structs.replace(spec, underlyings=free)

    components = [lift(spec) for spec in ruleset.data.components]
    return Ruleset(msgspec.structs.replace(ruleset.data, components=components))


def _standalone_balances(frame: Frame) -> Floats:
    """Scan of each stressed balance with nothing beside it, US dollars."""
    a, amount = frame.arrangement, frame.book.balance_amount
    scan = frame.ruleset.scan
    out = np.zeros(amount.size)
    for row in np.flatnonzero(a.balance_segment >= 0):
        only = np.where(np.arange(amount.size) == row, amount, 0.0)
        assert scan is not None
        found = run_scan(scan, frame, np.zeros(a.position_pot.size), only, orders=False)
        out[row] = float(found.margin @ frame.pot_usd[a.group_pot])
    return out


def pot_name(frame: Frame, pot: int) -> str:
    """Name a pot for people: its pool, and what sets it apart."""
    a, book = frame.arrangement, frame.book
    pool = book.pool_names[a.pot_pool[pot]]
    row = int(a.pot_position[pot])
    if row >= 0:
        leg = LEGS[book.position_leg[row]]
        name = book.registry[int(book.position_instrument[row])].id
        return f"{pool}/{name}" + ("" if leg == "net" else f" {leg}")
    if frame.ruleset.data.pools.by == "position":
        return f"{pool}/wallet"
    asset = int(a.pot_asset[pot])
    return pool if asset == USD else f"{pool}/{book.registry.assets[asset]}"


def _group_name(frame: Frame, group: int) -> str:
    return frame.book.registry.assets[int(frame.arrangement.group_underlying[group])]


def component_lines(frame: Frame, need: Requirement) -> list[ComponentLine]:
    """List every component of every group, then what belongs to a pot as a whole."""
    a = frame.arrangement
    lines = []
    for spec in frame.ruleset.data.components:
        if spec.name in need.parts:
            part = need.parts[spec.name]
            for g in range(a.groups):
                plain = spec.dimensionless
                usd = 0.0 if plain else float(frame.pot_usd[a.group_pot[g]])
                lines.append(
                    ComponentLine(
                        pot=pot_name(frame, int(a.group_pot[g])),
                        group=_group_name(frame, g),
                        name=spec.name,
                        im_usd=float(part.im[g]) * usd,
                        mm_usd=float(part.mm[g]) * usd,
                        source=spec.source,
                        confidence=_confidence(frame, spec.name, spec.confidence),
                        note=spec.note,
                        factor_im=float(part.im[g]) if plain else None,
                        factor_mm=float(part.mm[g]) if plain else None,
                    )
                )
        else:
            im, mm = need.pool_parts[spec.name]
            for pot in range(a.pots):
                usd = float(frame.pot_usd[pot])
                lines.append(
                    ComponentLine(
                        pot=pot_name(frame, pot),
                        group="*",
                        name=spec.name,
                        im_usd=float(im[pot]) * usd,
                        mm_usd=float(mm[pot]) * usd,
                        source=spec.source,
                        confidence=_confidence(frame, spec.name, spec.confidence),
                        note=spec.note,
                    )
                )
    return lines


def _confidence(frame: Frame, name: str, stated: str) -> str:
    touched = any(path.startswith(f"components.{name}.") for path in frame.ruleset.overrides)
    return "user" if touched else stated


def group_lines(frame: Frame, need: Requirement, alone: Standalone) -> list[GroupLine]:
    """Describe every group: scenarios, binding cell, sensitivities."""
    a = frame.arrangement
    greeks = position_greeks(frame)

    def total(values: Floats) -> Floats:
        return sum_by(values, a.position_group, a.groups)

    sums = [
        total(v)
        for v in (
            greeks.delta,
            greeks.net_transaction,
            greeks.gamma,
            greeks.vega_usd,
            greeks.theta_usd,
        )
    ]
    n = frame.book.position_quantity.size
    standalone = total(alone.im[:n])
    held = np.flatnonzero(a.balance_segment >= 0)
    standalone += sum_by(alone.im[n:][held], a.segment_group[a.balance_segment[held]], a.groups)
    lines = []
    for g in range(a.groups):
        usd = float(frame.pot_usd[a.group_pot[g]])
        scan = need.scan
        if scan is not None:
            row = int(frame.group_scenario_row[g])
            s = frame.table.scenarios
            labels, moves = list(s.labels[row]), s.move[row].tolist()
            states = [VOL_STATES[k] for k in s.vol_state]
            weights, tails = s.weight[row].tolist(), s.extended.tolist()
            pnl, raw = (scan.vector[g] * usd).tolist(), (scan.raw[g] * usd).tolist()
            binding = labels[scan.binding[g]] if scan.binding[g] >= 0 else None
        else:
            labels, moves, states, weights, tails, pnl, raw = [], [], [], [], [], [], []
            binding = None
        lines.append(
            GroupLine(
                pot=pot_name(frame, int(a.group_pot[g])),
                group=_group_name(frame, g),
                im_usd=float(need.group_im[g]) * usd,
                mm_usd=float(need.group_mm[g]) * usd,
                standalone_usd=float(standalone[g]),
                binding=binding,
                scenarios=labels,
                moves=moves,
                vol_states=list(states),
                weights=weights,
                tails=tails,
                pnl_usd=pnl,
                raw_usd=raw,
                delta=float(sums[0][g]),
                delta_net_transaction=float(sums[1][g]),
                gamma=float(sums[2][g]),
                vega_usd=float(sums[3][g]),
                theta_usd=float(sums[4][g]),
            )
        )
    return lines


def waterfall(
    frame: Frame, need: Requirement, with_orders: Requirement, alone: Standalone
) -> list[Step]:
    """Walk from standalone margins to the initial margin.

    The first bar adds up what each position's scan (or rate margin) would be alone, and each coin
    balance's where it is stressed with them; netting is what one scan over all saves on that;
    then come the legs of a tail beyond its shortfalls, the add-ons of the netted book, what the
    combining expression takes or gives, credit between groups, debt and open orders.
    """
    a = frame.arrangement
    usd_group = frame.pot_usd[a.group_pot]
    scan = frame.ruleset.scan
    first = float(alone.main.sum())
    what = "scans" if scan is not None else "margins"
    steps = [Step(label=f"standalone {what}", kind="total", usd=first)]
    gross = float(need.group_im @ usd_group)
    factors = {spec.name for spec in frame.ruleset.data.components if spec.dimensionless}
    parts = {
        name: float(part.im @ usd_group) for name, part in need.parts.items() if name not in factors
    }
    running = sum(parts.values())
    if scan is not None:
        running = parts[scan.name]
    legs = _tail_legs(frame, need)
    core = sum(usd for leg, _, usd in legs if leg in ("base", "stress"))
    steps.append(Step(label="netting", kind="change", usd=running + core - first))
    for leg, label, usd in legs:
        if leg not in ("base", "stress") and usd != 0.0:
            steps.append(Step(label=label, kind="change", usd=usd))
    if scan is not None:
        for name, usd in parts.items():
            if name != scan.name and usd != 0.0 and _adds(frame, name):
                steps.append(Step(label=name.replace("_", " "), kind="change", usd=usd))
                running += usd
    if abs(gross - running) > 1e-9 * max(1.0, abs(gross)):
        steps.append(Step(label="combination", kind="change", usd=gross - running))
    debt = sum((float(im @ frame.pot_usd) for im, _ in need.pool_parts.values()), 0.0)
    debt -= sum(usd for _, _, usd in legs)
    # What is left of a sum of legs taken away again is no debt.
    debt = 0.0 if legs and abs(debt) <= 1e-9 * max(1.0, abs(core)) else debt
    for text, amount in (
        ("credit between groups", -float(need.credit_im @ frame.pot_usd)),
        ("debt", debt),
        ("open orders", float((with_orders.im - need.im) @ frame.pot_usd)),
    ):
        if amount != 0.0:
            steps.append(Step(label=text, kind="change", usd=amount))
    total = float(with_orders.im @ frame.pot_usd)
    steps.append(Step(label="initial margin", kind="total", usd=total))
    return steps


def _tail_legs(frame: Frame, need: Requirement) -> list[tuple[str, str, float]]:
    """Return the legs of a tail: which, what to call it, US dollars."""
    return [
        (
            spec.leg,
            spec.name.replace("_", " "),
            float(need.pool_parts[spec.name][0] @ frame.pot_usd),
        )
        for spec in frame.ruleset.data.components
        if isinstance(spec, TailLeg)
    ]


def _adds(frame: Frame, name: str) -> bool:
    """Whether a component is simply added (and not compared by max) on the way to IM."""
    data = frame.ruleset.data.combine
    text = " ".join([*data.steps.values(), data.im])
    inside = text.partition("max(")[2].partition(")")[0]
    return name not in inside.replace(",", " ").split()
