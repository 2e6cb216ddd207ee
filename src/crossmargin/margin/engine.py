"""The engine: requirement and equity of every pot of a book, stage by stage.

One engine serves one account and a whole book. Each stage returns its parts, so that a number
can be taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book
from crossmargin.errors import RulesetError, invariant
from crossmargin.instruments import KIND_CODE, Registry
from crossmargin.margin import _charges as charges
from crossmargin.margin._arrange import arrange
from crossmargin.margin._counting import counted_options, debts, withheld
from crossmargin.margin._cuts import Cuts, haircuts
from crossmargin.margin._faults import Faults
from crossmargin.margin._formula import Part
from crossmargin.margin._frame import Frame, sum_by
from crossmargin.margin._location import counted_book
from crossmargin.margin._offset import apply_offset
from crossmargin.margin._scan import ScanResult, run_scan
from crossmargin.margin._stages import POT_STAGES, Stage, run_stage
from crossmargin.margin._tail import PotPart
from crossmargin.margin.components import Debt, Scan
from crossmargin.margin.expression import Dual
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MarketView, Priced, Snapshot
from crossmargin.scenarios import Kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What must be held, by pot and group, in each pot's numeraire.

    Attributes
    ----------
    im, mm : float64[P]
        Initial and maintenance requirement of each pot.
    group_im, group_mm : float64[G]
        Before credit between groups.
    parts : dict of str to Part
        Every component, by group.
    pool_parts : dict of str to (float64[P], float64[P])
        Components that belong to a pot as a whole (debt): IM and MM.
    credit_im, credit_mm : float64[P]
        Credit between groups, subtracted.
    scan : ScanResult or None
        The scan, when the rule-set has one.
    share_im, share_mm : float64[N]
        ``q·∂/∂q`` of each position, through combination and credit.
    balance_share_im, balance_share_mm : float64[B]
        The same for balances whose price enters the scan.
    """

    im: Floats
    mm: Floats
    group_im: Floats
    group_mm: Floats
    parts: dict[str, Part]
    pool_parts: dict[str, tuple[Floats, Floats]]
    credit_im: Floats
    credit_mm: Floats
    scan: ScanResult | None
    share_im: Floats
    share_mm: Floats
    balance_share_im: Floats
    balance_share_mm: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Equity:
    """What stands behind it, by pot, in each pot's numeraire.

    Attributes
    ----------
    im, mm : float64[P]
        Equity that counts at each level.
    balances : float64[P]
        Balances at market, before haircuts.
    haircut_im, haircut_mm : float64[P]
        What haircuts, caps and the weights of debts take away at each level.
    unrealised : float64[P]
        Unrealised profit of futures and perpetuals.
    option_value : float64[P]
        Market value of options and spot held.
    fence : float64[P]
        Margin moved into (+) or out of (−) the pot.
    cuts : Cuts
        `haircut_im` and `haircut_mm` by balance and by position.
    withheld_im, withheld_mm : float64[P]
        Unrealised profit that does not count, and what a joint cap on collateral takes away.
    debt_im, debt_mm : float64[P]
        Debts that stand in the requirement instead of against equity, at their weights.
    position_unrealised, position_value : float64[N]
        By position, in its settlement asset.
    """

    im: Floats
    mm: Floats
    balances: Floats
    haircut_im: Floats
    haircut_mm: Floats
    unrealised: Floats
    option_value: Floats
    fence: Floats
    cuts: Cuts
    withheld_im: Floats
    withheld_mm: Floats
    debt_im: Floats
    debt_mm: Floats
    position_unrealised: Floats
    position_value: Floats


def frame_for(
    book: Book,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    kernel: Kernel = "numpy",
    priced: Priced | None = None,
) -> Frame:
    """Arrange a book and price it; the entry to everything else.

    `priced` is the same market, where it serves several books over one registry.

    Raises
    ------
    CrossmarginError
        A price, forward, volatility or parameter that an account needs is missing.
    """
    book, left_out = counted_book(book, ruleset, snapshot.moment_ns)
    arrangement = arrange(book, ruleset)
    require_orders_known(book, ruleset)
    for index in book.instruments_used().tolist():
        error = untraded(book.registry, index, ruleset)
        if error is not None:
            raise error
    if ruleset.data.numeraire not in ("USD", "settlement"):
        snapshot.asset_usd(ruleset.data.numeraire)
    needed = book.instruments_used().tolist()
    view = snapshot.view(book.registry, needed) if priced is None else priced.view(needed)
    if ruleset.data.price_view == "index":
        view = at_index(view, book.registry)
    for asset in np.unique(arrangement.group_underlying):
        snapshot.asset_usd(book.registry.assets[asset])
    for asset in np.unique(book.balance_asset[book.balance_amount != 0.0]):
        snapshot.asset_usd(book.registry.assets[asset])
    entry = mark_entries(book, view)
    return Frame(book, ruleset, arrangement, view, kernel, entry, left_out=left_out)


def mark_entries(book: Book, view: MarketView) -> Floats:
    """Return the entry prices of positions with "mark" resolved to today's mark."""
    entry = book.position_entry
    return np.where(np.isnan(entry), view.price[book.position_instrument], entry)


def at_index(view: MarketView, registry: Registry) -> MarketView:
    """Return the market with perpetuals valued at their index, as venues with an oracle do."""
    terms = registry.terms
    names = registry.assets[: view.asset_usd.size]
    usd = np.where([name == "USD" for name in names], 1.0, view.asset_usd)
    perpetual = terms.kind == KIND_CODE["perpetual"]
    return replace(
        view,
        price_fixed=np.where(perpetual, 0.0, view.price_fixed),
        price_variable=np.where(
            perpetual, usd[terms.underlying] / usd[terms.quote], view.price_variable
        ),
    )


def untraded(registry: Registry, index: int, ruleset: Ruleset) -> RulesetError | None:
    """Return the refusal of what the venue does not trade, rather than let it need nothing."""
    traded = ruleset.data.instruments
    if traded is None:
        return None
    item = registry[index]
    name = f"inverse-{item.kind}" if item.inverse else item.kind
    if name in traded:
        return None
    return RulesetError(
        f"rule-set {ruleset.id!r} does not cover {name.replace('-', ' ')} contracts",
        code="RUL-014",
        instrument=item.id,
        field="instruments",
        hint=f"it covers {', '.join(traded) or 'balances only'}; use another rule-set",
    )


def maintenance(frame: Frame, need: Requirement, with_orders: Requirement) -> Floats:
    """Return the maintenance requirement by pot: with open orders only where the rules say so."""
    touched = "mm" in frame.ruleset.data.orders.levels
    return with_orders.mm if touched else need.mm


def require_orders_known(book: Book, ruleset: Ruleset, faults: Faults | None = None) -> None:
    """Refuse accounts with open orders where no formula for them is published."""
    if not book.leg_order.size or ruleset.data.orders.method != "refuse":
        return

    def reason(row: int) -> RulesetError:
        return RulesetError(
            f"the account has open orders, and the open-order margin of rule-set {ruleset.id!r} "
            "is not published",
            code="RUL-032",
            field="orders.method",
            hint="use --set orders.method=worst-fill for the house formula, or remove the orders",
        )

    if faults is None:
        raise reason(0)
    faults.note(book.pool_account[book.order_pool[book.leg_order]], reason)


def requirement(
    frame: Frame,
    *,
    orders: bool = False,
    quantity: Floats | None = None,
    amount: Floats | None = None,
    levels: tuple[str, ...] = ("im", "mm"),
) -> Requirement:
    """Compute the requirement of every pot.

    Parameters
    ----------
    frame : Frame
        Book, rules and market.
    orders : bool
        Whether to take the worst fills of open orders into account.
    quantity : float64[N], optional
        Quantities to use instead of the book's.
    amount : float64[B], optional
        Balances to use in the scan instead of the book's.
    levels : tuple of {"im", "mm"}
        Levels that are needed; the others are left at 0.
    """
    book, a, ruleset = frame.book, frame.arrangement, frame.ruleset
    q = book.position_quantity if quantity is None else quantity
    b = book.balance_amount if amount is None else amount
    # Where margin is checked when an order fills, a resting order reserves nothing.
    orders = orders and ruleset.data.orders.method != "at-fill"
    scan = None
    if ruleset.scan is not None:
        scan = run_scan(ruleset.scan, frame, q, b, orders=orders)
    parts: dict[str, Part] = {}
    pool_parts: dict[str, tuple[Floats, Floats]] = {}
    pot_shares: list[PotPart] = []
    scratch: dict[str, Any] = {}
    for spec in sorted(ruleset.data.components, key=lambda c: not isinstance(c, Scan)):
        stage = Stage(frame, q, b, parts, scan, orders, scratch)
        if type(spec) in POT_STAGES:
            found_part = POT_STAGES[type(spec)](spec, stage)
            if isinstance(found_part, PotPart):
                pot_shares.append(found_part)
                found_part = (found_part.im, found_part.mm)
            pool_parts[spec.name] = found_part
        else:
            parts[spec.name] = run_stage(spec, stage)
    nothing = np.zeros(a.pots)
    idle = (nothing, np.zeros(a.groups), nothing, np.zeros(q.size), np.zeros(b.size))
    found = {"im": idle, "mm": idle}
    for level in levels:
        result = _combined(frame, parts, level)
        group = np.broadcast_to(result.value, (a.groups,)).astype(np.float64)
        if orders and scan is None and book.leg_order.size and ruleset.data.orders.fill_losses:
            group = group + charges.run_fill_losses(frame)
        _check_margin(frame, group, level)
        pot, credit, passed = apply_offset(frame, group, q, orders=orders)
        share, balance_share = _shares(frame, parts, result, passed, level, q.size, b.size)
        for im, mm in pool_parts.values():
            pot = pot + (im if level == "im" else mm)
        for one in pot_shares:
            share = share + (one.share_im if level == "im" else one.share_mm)
            held = one.balance_im if level == "im" else one.balance_mm
            balance_share = balance_share + held
        found[level] = (pot, group, credit, share, balance_share)
    return Requirement(
        im=found["im"][0],
        mm=found["mm"][0],
        group_im=found["im"][1],
        group_mm=found["mm"][1],
        parts=parts,
        pool_parts=pool_parts,
        credit_im=found["im"][2],
        credit_mm=found["mm"][2],
        scan=scan,
        share_im=found["im"][3],
        share_mm=found["mm"][3],
        balance_share_im=found["im"][4],
        balance_share_mm=found["mm"][4],
    )


def _combined(frame: Frame, parts: dict[str, Part], level: str) -> Dual:
    """Evaluate the rule-set's expression at one level, with derivatives where shares need them."""
    groups, ruleset = frame.arrangement.groups, frame.ruleset
    values = {
        name: Dual(
            part.im if level == "im" else part.mm, {name: np.ones(groups)} if frame.shares else {}
        )
        for name, part in parts.items()
    }
    for name, figure in ruleset.data.combine.constants.items():
        values[name] = Dual(np.full(groups, figure), {})
    for step in ruleset.data.combine.steps:
        values[step] = ruleset.expressions[step].dual(values)
    return ruleset.expressions[level].dual(values)


def _shares(
    frame: Frame,
    parts: dict[str, Part],
    result: Dual,
    passed: Floats,
    level: str,
    positions: int,
    balances: int,
) -> tuple[Floats, Floats]:
    """Return what each position and balance contributes, through combination and credit."""
    a = frame.arrangement
    share, balance_share = np.zeros(positions), np.zeros(balances)
    keep = np.flatnonzero(a.balance_segment >= 0)
    for name, grad in result.grad.items():
        part = parts[name]
        mine = part.share_im if level == "im" else part.share_mm
        share += (grad * passed)[a.position_group] * mine
        if part.cross is not None:
            far = np.broadcast_to(grad * passed, (a.groups,))[part.cross.group]
            share += sum_by(far * part.cross.value, part.cross.position, positions)
        held = part.balance_im if level == "im" else part.balance_mm
        if held is not None:
            slope = (grad * passed)[a.segment_group[a.balance_segment[keep]]]
            balance_share[keep] += slope * held[keep]
    return share, balance_share


def _check_margin(frame: Frame, group: Floats, level: str) -> None:
    """Refuse a requirement that is not a finite number of at least 0."""
    wrong = ~np.isfinite(group)
    if not frame.ruleset.data.net_margin:
        wrong |= group < -1e-9 * np.maximum(1.0, np.abs(group))
    rows = np.flatnonzero(wrong)

    def reason(row: int) -> RulesetError:
        g = int(rows[row])
        name = frame.book.registry.assets[int(frame.arrangement.group_underlying[g])]
        return RulesetError(
            f"rule-set {frame.ruleset.id!r} gives {name} a requirement of {group[g]:g}",
            code="RUL-033",
            field=f"combine.{level}",
            hint="a requirement is a finite number of at least 0: mend the expression or "
            "parameters",
        )

    frame.refuse(frame.arrangement.group_pot[rows], reason)


def equity(frame: Frame, need: Requirement, fences: Floats | None = None) -> Equity:
    """Compute the equity of every pot.

    Parameters
    ----------
    frame : Frame
        Book, rules and market.
    need : Requirement
        Needed where fenced pots take their initial margin from the wallet.
    fences : float64[N], optional
        Margin pledged to each position, in its settlement asset, as returned by
        :func:`fenced_margins` when it was pledged; by default as of now.

    Raises
    ------
    RulesetError
        ``RUL-020`` when a balance has no haircut in the rule-set, ``RUL-025`` when a weight
        needs a figure that is not supplied.
    """
    book, a = frame.book, frame.arrangement
    usd = frame.asset_usd_or_one[book.balance_asset]
    per = np.where(
        book.balance_asset == a.pot_asset[a.balance_pot], 1.0, usd / frame.pot_usd[a.balance_pot]
    )
    at_market = np.where(book.balance_amount == 0.0, 0.0, book.balance_amount * per)
    balances = sum_by(at_market, a.balance_pot, a.pots)
    profit, value = frame.position_values()
    value = counted_options(frame, value)
    cuts = haircuts(frame, at_market, profit, value)
    haircut_im = sum_by(cuts.balance_im, a.balance_pot, a.pots)
    haircut_im += sum_by(cuts.position_im, a.position_pot, a.pots)
    haircut_mm = sum_by(cuts.balance_mm, a.balance_pot, a.pots)
    haircut_mm += sum_by(cuts.position_mm, a.position_pot, a.pots)
    unrealised = sum_by(profit * frame.position_rate, a.position_pot, a.pots)
    held = sum_by(value * frame.position_rate, a.position_pot, a.pots)
    fence = np.zeros(a.pots)
    if (a.pot_position >= 0).any():
        pledged = fenced_margins(frame, need) if fences is None else fences
        fence = _move_fences(frame, pledged)
    whole = balances + unrealised + held + fence
    apart = withheld(frame, need.parts, at_market, profit, cuts)
    owed = debts(frame, at_market, cuts) if _debts_required(frame) else np.zeros((2, a.pots))
    finite = np.isfinite(whole)
    if not finite.all():
        finite |= frame.refused_pots()
    invariant(bool(finite.all()), "equity is not a finite number")
    return Equity(
        im=whole - haircut_im - apart[0] + owed[0],
        mm=whole - haircut_mm - apart[1] + owed[1],
        balances=balances,
        haircut_im=haircut_im,
        haircut_mm=haircut_mm,
        unrealised=unrealised,
        option_value=held,
        fence=fence,
        cuts=cuts,
        withheld_im=apart[0],
        withheld_mm=apart[1],
        debt_im=owed[0],
        debt_mm=owed[1],
        position_unrealised=profit,
        position_value=value,
    )


def _debts_required(frame: Frame) -> bool:
    return any(isinstance(spec, Debt) for spec in frame.ruleset.data.components)


def fenced_margins(frame: Frame, need: Requirement) -> Floats:
    """Return the margin pledged to each position, in its settlement asset.

    A position's own ``fenced_margin`` counts; without one, its entry notional over its leverage;
    without that, what its initial margin lacks beside its own value and profit. Zero where a
    rule-set does not fence positions.
    """
    book, a = frame.book, frame.arrangement
    pledged = np.zeros(book.position_quantity.size)
    profit, value = frame.position_values()
    pots = np.flatnonzero(a.pot_position >= 0)
    rows = a.pot_position[pots]
    own, leverage = book.position_fence[rows], book.position_leverage[rows]
    lacking = need.im[pots] / frame.position_rate[rows] - profit[rows] - value[rows]
    pledged[rows] = np.maximum(0.0, lacking)
    levered = ~np.isnan(leverage) & (value[rows] == 0)
    pledged[rows[levered]] = _entry_notional(frame, rows[levered]) / leverage[levered]
    given = ~np.isnan(own)
    pledged[rows[given]] = own[given]
    return pledged


def _move_fences(frame: Frame, pledged: Floats) -> Floats:
    """Move pledged margin from each pool's wallet into its fenced pots, in US dollars."""
    a = frame.arrangement
    fenced = np.flatnonzero(a.pot_position >= 0)
    rows = a.pot_position[fenced]
    amount = pledged[rows] * frame.position_rate[rows]
    wallet = np.full(int(a.pot_pool.max(initial=0)) + 1, -1, dtype=np.int64)
    homes = np.flatnonzero(a.pot_position < 0)
    wallet[a.pot_pool[homes]] = homes
    move = -sum_by(amount, wallet[a.pot_pool[fenced]], a.pots)
    move[fenced] += amount
    return np.asarray(move)


def _entry_notional(frame: Frame, rows: Ints) -> Floats:
    """Notional of positions at their entry price, in the settlement asset."""
    book = frame.book
    instrument = book.position_instrument[rows]
    now = frame.notional(instrument, book.position_quantity[rows])
    entry = (book.position_entry if frame.entry is None else frame.entry)[rows]
    mark = frame.view.price[instrument]
    with np.errstate(divide="ignore", invalid="ignore"):
        then = now * np.where(frame.terms.inverse[instrument], mark / entry, entry / mark)
    return np.where(np.isnan(entry), now, then)
