"""Building the statement: evaluate once, then explain every part of the number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin import __version__
from crossmargin.book import LEGS, AccountFile, Book, book_from_accounts
from crossmargin.codec import decode_json
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.instruments import Option
from crossmargin.margin import _explain as explain
from crossmargin.margin._arrange import USD
from crossmargin.margin._cuts import asset_rule
from crossmargin.margin._frame import Frame
from crossmargin.margin._location import STATUS
from crossmargin.margin._notes import gaps_here, notes
from crossmargin.margin._protect import (
    protect_line,
    protect_notes,
    protect_of,
    protected_state,
)
from crossmargin.margin.components import MEANINGS, PegCharge, PegFactor
from crossmargin.margin.engine import (
    Equity,
    Requirement,
    equity,
    frame_for,
    maintenance,
    requirement,
)
from crossmargin.margin.liquidation_price import Crossing, liquidation_prices
from crossmargin.margin.ruleset import Ruleset, ruleset_from_dict
from crossmargin.margin.shares import Shares, shares
from crossmargin.margin.statement_types import (
    STATEMENT_FORMAT,
    BalanceLine,
    Hashes,
    Inputs,
    LiquidationLine,
    OrdersLine,
    PositionLine,
    PotLine,
    RulesetInfo,
    SideLine,
    Statement,
    Totals,
)
from crossmargin.margin.states import PotState, pot_state
from crossmargin.market import Snapshot, file_from_snapshot, snapshot_from_file
from crossmargin.scenarios import Kernel
from crossmargin.units import format_time, parse_time

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One account evaluated: the numbers before they are explained.

    Attributes
    ----------
    frame : Frame
        Book, rules, market.
    need : Requirement
        Without open orders (maintenance, shares).
    need_orders : Requirement
        With the worst fills of open orders (initial).
    have : Equity
        What stands behind it.
    """

    frame: Frame
    need: Requirement
    need_orders: Requirement
    have: Equity

    @property
    def im_usd(self) -> float:
        """Initial requirement, US dollars, open orders included."""
        return float(self.need_orders.im @ self.frame.pot_usd)

    @property
    def mm(self) -> Floats:
        """Maintenance requirement by pot, with open orders where the rules say so."""
        return maintenance(self.frame, self.need, self.need_orders)

    @property
    def mm_usd(self) -> float:
        """Maintenance requirement, US dollars."""
        return float(self.mm @ self.frame.pot_usd)


def evaluate(
    book: Book, snapshot: Snapshot, ruleset: Ruleset, *, kernel: Kernel = "numpy"
) -> Evaluation:
    """Evaluate a book without explaining it: the fast path for one account.

    Raises
    ------
    CrossmarginError
        Naming account, instrument and field of what is missing or not covered.
    """
    try:
        frame = frame_for(book, snapshot, ruleset, kernel=kernel)
        need = requirement(frame)
        with_orders = requirement(frame, orders=True) if book.leg_order.size else need
        return Evaluation(
            frame=frame, need=need, need_orders=with_orders, have=equity(frame, with_orders)
        )
    except CrossmarginError as error:
        raise error.located(account=book.account_ids[0] if book.size == 1 else None) from None


def make_statement(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    at_ns: int | None = None,
    kernel: Kernel = "numpy",
    solve: bool = True,
) -> Statement:
    """Compute and explain the margin of one account.

    Parameters
    ----------
    account : AccountFile
        What it holds.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    at_ns : int, optional
        Moment of valuation; default the market's own.
    kernel : {"numpy", "numba"}
        Pricing kernel.
    solve : bool
        Whether to solve liquidation prices.

    Returns
    -------
    Statement
        In US dollars, with each pot also in its own numeraire.

    Raises
    ------
    CrossmarginError
        One sentence naming account, instrument and field.
    """
    market = snapshot if at_ns is None else snapshot.at(at_ns)
    book = book_from_accounts([account])
    done = evaluate(book, market, ruleset, kernel=kernel)
    frame = done.frame
    split = shares(frame)
    alone = explain.standalone_margins(frame)
    solved = liquidation_prices(frame) if solve else []
    trust, by_numbers = protect_of(frame), worst_state(s.state for s in _states(done))
    used = frame.used.tolist()
    names = [book.registry.assets[a] for a in book.balance_asset]
    names += [book.registry.assets[a] for a in frame.arrangement.group_underlying]
    names += _named_by(ruleset)
    inputs = Inputs(
        account=account,
        market=file_from_snapshot(market.restricted_to(book.registry, used, names)),
        ruleset=ruleset.as_dict(),
        overrides=list(ruleset.overrides),
        at=format_time(market.moment_ns),
    )
    return Statement(
        format=STATEMENT_FORMAT,
        account=account.account,
        description=account.description,
        as_of=format_time(market.as_of_ns),
        at=format_time(market.moment_ns),
        market_source=market.source,
        ruleset=_ruleset_info(frame, done.need),
        totals=_totals(done, float(alone.im.sum())),
        pots=pot_lines(done),
        components=explain.component_lines(frame, done.need),
        groups=explain.group_lines(frame, done.need, alone),
        positions=_positions(done, split, alone),
        balances=_balances(done, split),
        waterfall=explain.waterfall(frame, done.need, done.need_orders, alone),
        share_fixed_usd=split.fixed,
        share_jumps_usd=split.jumps,
        orders=_orders(done),
        liquidation=[
            LiquidationLine(
                underlying=line.underlying,
                price_usd=None if np.isnan(line.price_usd) else line.price_usd,
                breached=line.breached,
                down=_side(frame, line.down),
                up=_side(frame, line.up),
                breached_pots=[explain.pot_name(frame, pot) for pot in line.breached_pots],
            )
            for line in solved
        ],
        notes=protect_notes(trust, by_numbers)
        + notes(frame, account, market, done.need, done.have, _excess(done)),
        hashes=_hashes(inputs, ruleset),
        inputs=inputs,
        protect=protect_line(trust, by_numbers),
    )


def recompute(statement: Statement, *, kernel: Kernel = "numpy") -> Statement:
    """Compute a statement again from its own inputs: the result equals the statement.

    Raises
    ------
    InputError
        ``INP-012`` when it was written by another version of the code.
    """
    if statement.hashes.code_version != __version__:
        raise InputError(
            f"the statement was made by version {statement.hashes.code_version}, this is "
            f"{__version__}",
            code="INP-012",
            field="hashes.code_version",
        )
    rules = ruleset_from_dict({**statement.inputs.ruleset, "extends": None})
    data = replace(
        rules,
        data=msgspec.structs.replace(rules.data, extends=statement.inputs.ruleset.get("extends")),
        overrides=tuple(statement.inputs.overrides),
    )
    return make_statement(
        statement.inputs.account,
        snapshot_from_file(statement.inputs.market),
        data,
        at_ns=parse_time(statement.inputs.at, field="inputs.at"),
        kernel=kernel,
        solve=bool(statement.liquidation),
    )


def encode_statement(statement: Statement) -> bytes:
    """Encode as indented JSON; the same statement gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(statement), indent=2) + b"\n"


def decode_statement(raw: bytes) -> Statement:
    """Decode a statement from JSON."""
    return decode_json(raw, Statement, what="statement")


def _named_by(ruleset: Ruleset) -> list[str]:
    """Assets that the rules themselves price: an account need not hold any of them."""
    pegs = [c.asset for c in ruleset.data.components if isinstance(c, PegFactor | PegCharge)]
    return [ruleset.data.numeraire, *pegs]


def _hashes(inputs: Inputs, ruleset: Ruleset) -> Hashes:
    def digest(part: object) -> str:
        return hashlib.sha256(msgspec.json.encode(part)).hexdigest()

    return Hashes(
        account=digest(inputs.account),
        market=digest([inputs.market, inputs.at]),
        ruleset=ruleset.content_hash,
        code_version=__version__,
    )


def _ruleset_info(frame: Frame, need: Requirement) -> RulesetInfo:
    ruleset = frame.ruleset
    data = ruleset.data
    here = gaps_here(frame, need)
    return RulesetInfo(
        id=data.id,
        title=data.title,
        venue=data.venue,
        effective_from=data.effective_from,
        complete=ruleset.complete,
        complete_here=not here,
        gaps_here=here,
        gaps=list(ruleset.gaps),
        overrides=list(ruleset.overrides),
        limits=list(data.limits),
    )


def worst_state(states: Iterable[str]) -> str:
    """Return the worst of some pots' states."""
    return max(states, key=[str(m) for m in MEANINGS].index, default="healthy")


def _states(done: Evaluation) -> list[PotState]:
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


def _excess(done: Evaluation) -> tuple[float, float]:
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
    for pot, by_numbers in enumerate(_states(done)):
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


def _totals(done: Evaluation, standalone: float) -> Totals:
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


def _positions(done: Evaluation, split: Shares, alone: explain.Standalone) -> list[PositionLine]:
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


def _balances(done: Evaluation, split: Shares) -> list[BalanceLine]:
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


def _orders(done: Evaluation) -> OrdersLine | None:
    book, orders = done.frame.book, done.frame.ruleset.data.orders
    if not book.order_pool.size:
        return None
    return OrdersLine(
        count=int(book.order_pool.size),
        method=orders.method,
        confidence=orders.confidence,
        im_usd=float((done.need_orders.im - done.need.im) @ done.frame.pot_usd),
    )


def _side(frame: Frame, crossing: Crossing) -> SideLine:
    return SideLine(
        price_usd=crossing.price_usd,
        distance=crossing.distance,
        pot=None if crossing.pot is None else explain.pot_name(frame, crossing.pot),
        unknown_beyond=crossing.unknown_beyond,
    )
