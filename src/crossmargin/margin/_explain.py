"""Taking the number apart: standalone margins, components, groups, waterfall, greeks, notes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import AccountFile, Book
from crossmargin.instruments import KIND_CODE, deribit_name
from crossmargin.margin._arrange import USD, arrange
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin.engine import Requirement, requirement
from crossmargin.margin.statement_types import ComponentLine, GroupLine, Step
from crossmargin.market import Snapshot
from crossmargin.pricing import black76_greeks
from crossmargin.scenarios import VOL_STATES
from crossmargin.units import format_time

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
    terms = book.registry.terms
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


def one_each(book: Book, *, balances: bool = False) -> Book:
    """Return the positions of a book, each in an account of its own, without orders.

    Parameters
    ----------
    book : Book
        Any book.
    balances : bool
        Whether each balance also becomes an account, after the positions.
    """
    n = book.position_pool.size
    b = book.balance_pool.size if balances else 0
    none = np.empty(0, dtype=np.int64)
    ids = [str(k) for k in range(n + b)]
    keep = slice(0, b)
    return replace(
        book,
        account_ids=ids,
        owners=ids,
        pool_account=np.arange(n + b, dtype=np.int64),
        pool_names=["cross"] * (n + b),
        pool_mode=np.zeros(n + b, dtype=np.int64),
        balance_pool=np.arange(n, n + b, dtype=np.int64),
        balance_asset=book.balance_asset[keep],
        balance_amount=book.balance_amount[keep],
        position_pool=np.arange(n, dtype=np.int64),
        order_pool=none,
        order_ids=[],
        order_group=none,
        leg_order=none,
        leg_instrument=none,
        leg_quantity=np.empty(0),
        leg_price=np.empty(0),
        group_pool=none,
        group_limit_usd=np.empty(0),
        group_ids=[],
    )


def standalone_margins(frame: Frame) -> Floats:
    """Initial margin of each position (then each stressed balance) alone, US dollars.

    Returns
    -------
    float64[N + B]
        Balances that take no part in the scenarios have 0.
    """
    book = one_each(frame.book, balances=True)
    alone = Frame(book, frame.ruleset, arrange(book, frame.ruleset), frame.view, frame.kernel)
    need = requirement(alone)
    a = alone.arrangement
    account = book.pool_account[a.pot_pool]
    # Debt is charged once for the account, not as a position.
    debt = sum(
        (im for im, _ in need.pool_parts.values()), start=np.zeros(a.pots)
    )
    return sum_by((need.im - debt) * alone.pot_usd, account, book.size)


def pot_name(frame: Frame, pot: int) -> str:
    """Name a pot for people: its pool, and what sets it apart."""
    a, book = frame.arrangement, frame.book
    pool = book.pool_names[a.pot_pool[pot]]
    row = int(a.pot_position[pot])
    if row >= 0:
        return f"{pool}/{book.registry[int(book.position_instrument[row])].id}"
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
                usd = float(frame.pot_usd[a.group_pot[g]])
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


def group_lines(frame: Frame, need: Requirement, alone: Floats) -> list[GroupLine]:
    """Describe every group: scenarios, binding cell, sensitivities."""
    a, book = frame.arrangement, frame.book
    greeks = position_greeks(frame)
    n = book.position_quantity.size

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
    standalone = total(alone[:n])
    held = np.flatnonzero(a.balance_segment >= 0)
    standalone += sum_by(
        alone[n:][held], a.segment_group[a.balance_segment[held]], a.groups
    )
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
    frame: Frame, need: Requirement, with_orders: Requirement, alone: Floats
) -> list[Step]:
    """Walk from the sum of standalone margins to the initial margin.

    Standalone margins include each position's own add-ons. Netting is what the sum of all
    groups' scans (or rates) saves; then come the add-ons of the netted book, what the combining
    expression takes or gives, credit between groups, debt and open orders.
    """
    a = frame.arrangement
    usd_group = frame.pot_usd[a.group_pot]
    scan = frame.ruleset.scan
    steps = [Step(label="sum of standalone margins", kind="total", usd=float(alone.sum()))]
    gross = float(need.group_im @ usd_group)
    parts = {name: float(part.im @ usd_group) for name, part in need.parts.items()}
    main = parts[scan.name] if scan is not None else sum(parts.values())
    label = "netting in the scan" if scan is not None else "netting"
    steps.append(Step(label=label, kind="change", usd=main - float(alone.sum())))
    running = main
    if scan is not None:
        for name, usd in parts.items():
            if name != scan.name and usd != 0.0 and _adds(frame, name):
                steps.append(Step(label=name.replace("_", " "), kind="change", usd=usd))
                running += usd
    if abs(gross - running) > 1e-9 * max(1.0, abs(gross)):
        steps.append(Step(label="combination", kind="change", usd=gross - running))
    for text, amount in (
        ("credit between groups", -float(need.credit_im @ frame.pot_usd)),
        ("debt", float(sum((im @ frame.pot_usd for im, _ in need.pool_parts.values()), 0.0))),
        ("open orders", float((with_orders.im - need.im) @ frame.pot_usd)),
    ):
        if amount != 0.0:
            steps.append(Step(label=text, kind="change", usd=amount))
    total = float(with_orders.im @ frame.pot_usd)
    steps.append(Step(label="initial margin", kind="total", usd=total))
    return steps


def _adds(frame: Frame, name: str) -> bool:
    """Whether a component is simply added (and not compared by max) on the way to IM."""
    data = frame.ruleset.data.combine
    text = " ".join([*data.steps.values(), data.im])
    inside = text.partition("max(")[2].partition(")")[0]
    return name not in inside.replace(",", " ").split()


def notes(frame: Frame, account: AccountFile, snapshot: Snapshot) -> list[str]:
    """Say aloud what a reader must know and could not see from the numbers."""
    book, view, data = frame.book, frame.view, frame.ruleset.data
    out = []
    if not account.positions:
        debt = " beyond what its debt needs" if any(book.balance_amount < 0) else ""
        out.append(f"The account has balances and no positions: nothing is required{debt}.")
    if not frame.ruleset.complete:
        out.append(
            f"Rule-set {data.id} is incomplete; without a source: "
            + "; ".join(frame.ruleset.gaps)
            + "."
        )
    if frame.ruleset.overrides:
        out.append("Supplied by the user: " + ", ".join(frame.ruleset.overrides) + ".")
    terms = book.registry.terms
    futures = np.isin(
        terms.kind[book.position_instrument], [KIND_CODE["perpetual"], KIND_CODE["future"]]
    )
    at_mark = [
        book.registry[int(i)].id
        for i, entry, fut in zip(book.position_instrument, book.position_entry, futures)
        if fut and np.isnan(entry)
    ]
    if at_mark:
        out.append("Profit already settled into the balance: " + ", ".join(at_mark) + ".")
    gone = [book.registry[int(i)].id for i in book.position_instrument if view.settled[i]]
    if gone:
        out.append(
            "Expired by the moment of valuation and settled at the index of "
            f"{format_time(snapshot.as_of_ns)}: " + ", ".join(gone) + "."
        )
    if snapshot.moment_ns != snapshot.as_of_ns:
        out.append(
            f"Valued at {format_time(snapshot.moment_ns)} on the market of "
            f"{format_time(snapshot.as_of_ns)}: prices and volatilities unchanged, time passed."
        )
    opaque = sorted(
        {
            book.registry[int(i)].id
            for i in book.position_instrument
            if deribit_name(book.registry[int(i)]) is None
        }
    )
    if opaque:
        out.append("Named by unified symbol: " + ", ".join(opaque) + ".")
    return out
