"""Lines of a statement: pots, totals, positions, balances, orders; of one evaluated account."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from crossmargin.book import LEGS
from crossmargin.instruments import Option
from crossmargin.margin import _explain as explain
from crossmargin.margin._arrange import USD
from crossmargin.margin._cuts import asset_rule
from crossmargin.margin._frame import Frame
from crossmargin.margin._location import STATUS
from crossmargin.margin._protect import (
    protect_of,
    protected_state,
)
from crossmargin.margin.components import MEANINGS
from crossmargin.margin.evaluation import Evaluation
from crossmargin.margin.liquidation_price import Crossing
from crossmargin.margin.shares import Shares
from crossmargin.margin.statement_types import (
    BalanceLine,
    OrdersLine,
    PositionLine,
    PotLine,
    SideLine,
    Totals,
)
from crossmargin.margin.states import PotState, pot_state


def worst_state(states: Iterable[str]) -> str:
    """Return the worst of some pots' states."""
    return max(states, key=[str(m) for m in MEANINGS].index, default="healthy")


def pot_states(done: Evaluation) -> list[PotState]:
    """Return each pot's state by its numbers, whatever its prices are worth."""
    frame, a = done.frame, done.frame.arrangement
    out = []
    for pot in range(a.pots):
        im, mm = float(done.need_orders.im[pot]), float(done.mm[pot])
        e_im, e_mm = float(done.have.im[pot]), float(done.have.mm[pot])
        usd = float(frame.pot_usd[pot])
        state = pot_state(frame.ruleset, *(x * usd for x in (e_im, e_mm, im, mm)))
        if frame.ruleset.data.pools.by == "position" and a.pot_position[pot] < 0:
            # The wallet of fenced positions holds none: it can lack money, not be liquidated.
            state = PotState("healthy" if e_im >= im else "reduce-only")
        out.append(state)
    return out


def excess_usd(done: Evaluation) -> tuple[float, float]:
    """Equity less requirement of all pots, initial and maintenance, US dollars."""
    usd = done.frame.pot_usd
    return (
        float((done.have.im - done.need_orders.im) @ usd),
        float((done.have.mm - done.mm) @ usd),
    )


def pot_lines(done: Evaluation) -> list[PotLine]:
    """Describe every pot: equity, requirement and state in its own numeraire.

    On prices that are not trusted the state is what protect mode allows.
    """
    frame, a, book = done.frame, done.frame.arrangement, done.frame.book
    lines = []
    for pot, by_numbers in enumerate(pot_states(done)):
        asset = int(a.pot_asset[pot])
        pool = book.pool_names[a.pot_pool[pot]]
        im, mm = float(done.need_orders.im[pot]), float(done.mm[pot])
        e_im, e_mm = float(done.have.im[pot]), float(done.have.mm[pot])
        lines.append(
            PotLine(
                name=explain.pot_name(frame, pot),
                pool=pool,
                numeraire="USD" if asset == USD else book.registry.assets[asset],
                numeraire_usd=float(frame.pot_usd[pot]),
                equity_im=e_im,
                equity_mm=e_mm,
                im=im,
                mm=mm,
                available=e_im - im,
                health=e_mm / mm if mm > 0 else None,
                state=protected_state(protect_of(frame, pot), by_numbers.state),
                venue_state=by_numbers.venue_state,
            )
        )
    return lines


def totals_of(done: Evaluation, standalone: float) -> Totals:
    """Sum the pots up, US dollars; the state is that of the worst pot."""
    frame, have = done.frame, done.have
    usd = frame.pot_usd
    pots = pot_lines(done)
    ratios = [p.health for p in pots if p.health is not None]
    e_im, e_mm = float(have.im @ usd), float(have.mm @ usd)
    health = min(ratios) if ratios else None
    worst = max(pots, key=_severity, default=None)
    balances, haircut = float(have.balances @ usd), float(have.haircut_im @ usd)
    return Totals(
        equity=e_mm,
        equity_im=e_im,
        balances=balances,
        haircut=haircut,
        haircut_mm=float(have.haircut_mm @ usd),
        collateral=balances - haircut,
        unrealised=float(have.unrealised @ usd),
        option_value=float(have.option_value @ usd),
        im=done.im_usd,
        mm=done.mm_usd,
        standalone_im=standalone,
        saving=1.0 - float(done.need.im @ usd) / standalone if standalone > 0 else None,
        available=e_im - done.im_usd,
        health=health,
        margin_used=done.mm_usd / e_mm if e_mm > 0 else None,
        state="healthy" if worst is None else worst.state,
        venue_state="" if worst is None else worst.venue_state,
    )


def _severity(pot: PotLine) -> tuple[int, bool]:
    """Order pots by state; of equal ones, one that the venue has a word for comes first."""
    return [str(m) for m in MEANINGS].index(pot.state), bool(pot.venue_state)


def position_lines(
    done: Evaluation, split: Shares, alone: explain.Standalone
) -> list[PositionLine]:
    """Describe every position: value, greeks, and its share of the initial margin."""
    frame, book = done.frame, done.frame.book
    view, registry = frame.view, done.frame.book.registry
    greeks = explain.position_greeks(frame)
    settle_usd = view.asset_usd[frame.terms.settlement]
    notional = frame.notional(book.position_instrument, book.position_quantity)
    lines = []
    for row, index in enumerate(book.position_instrument):
        item = registry[int(index)]
        option = isinstance(item, Option)
        mark = frame.unit_value[index] / item.contract_size if option else view.price[index]
        rate = float(settle_usd[index])
        entry = float(book.position_entry[row])
        years = float(view.years[index])
        lines.append(
            PositionLine(
                instrument=item.id,
                pool=book.pool_names[book.position_pool[row]],
                leg=LEGS[book.position_leg[row]],
                quantity=float(book.position_quantity[row]),
                unit=item.quantity_unit,
                entry_price=None if np.isnan(entry) else entry,
                mark_price=float(mark),
                mark_unit=item.settlement if option else item.quote,
                vol=float(view.vol[index]) if option else None,
                days=None if np.isinf(years) else years * 365.0,
                notional_usd=float(notional[row]) * rate,
                value_usd=float(done.have.position_value[row]) * rate,
                unrealised_usd=float(done.have.position_unrealised[row]) * rate,
                delta=float(greeks.delta[row]),
                gamma=float(greeks.gamma[row]),
                vega_usd=float(greeks.vega_usd[row]),
                theta_usd=float(greeks.theta_usd[row]),
                standalone_im_usd=float(alone.im[row]),
                share_im_usd=float(split.position[row]),
                settled=bool(view.settled[index]),
            )
        )
    return lines


def balance_lines(done: Evaluation, split: Shares) -> list[BalanceLine]:
    """Describe every balance: what it is worth, and what counts after haircuts."""
    frame, book, a = done.frame, done.frame.book, done.frame.arrangement
    tailed = not isinstance(frame.ruleset.data.tail, msgspec.UnsetType)
    lines = []
    for row, asset in enumerate(book.balance_asset):
        name = book.registry.assets[asset]
        counts = float(book.balance_amount[row])
        amount, status = counts, ""
        if frame.left_out is not None and frame.left_out.status[row]:
            amount = float(frame.left_out.amount[row])
            status = STATUS[frame.left_out.status[row]]
        place = int(book.balance_location[row])
        price = float(frame.asset_usd_or_one[asset])
        own = asset == a.pot_asset[a.balance_pot[row]]
        rule = None if own else asset_rule(frame.ruleset, name)
        value = 0.0 if counts == 0 else counts * price
        rate = float(frame.pot_usd[a.balance_pot[row]])
        lost = float(done.have.cuts.balance_im[row]) * rate
        lost_mm = float(done.have.cuts.balance_mm[row]) * rate
        lines.append(
            BalanceLine(
                asset=name,
                pool=book.pool_names[book.balance_pool[row]],
                location=None if place < 0 else book.locations[place],
                status=status,
                amount=amount,
                price_usd=price if np.isfinite(price) else 0.0,
                value_usd=value,
                haircut=lost / value if value else 0.0,
                haircut_mm=lost_mm / value if value else 0.0,
                collateral_usd=value - lost,
                collateral_mm_usd=value - lost_mm,
                stress=rule.stress
                if rule is not None and (a.balance_segment[row] >= 0 or tailed)
                else "none",
                share_im_usd=float(split.balance[row]),
            )
        )
    return lines


def orders_line(done: Evaluation) -> OrdersLine | None:
    """Describe what open orders add; None without any."""
    book, orders = done.frame.book, done.frame.ruleset.data.orders
    if not book.order_pool.size:
        return None
    return OrdersLine(
        count=int(book.order_pool.size),
        method=orders.method,
        confidence=orders.confidence,
        im_usd=float((done.need_orders.im - done.need.im) @ done.frame.pot_usd),
    )


def side_line(frame: Frame, crossing: Crossing) -> SideLine:
    """Describe a crossing of the maintenance line on one side."""
    return SideLine(
        price_usd=crossing.price_usd,
        distance=crossing.distance,
        pot=None if crossing.pot is None else explain.pot_name(frame, crossing.pot),
        unknown_beyond=crossing.unknown_beyond,
    )
