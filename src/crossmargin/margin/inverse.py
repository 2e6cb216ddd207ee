"""Inverse questions about size: largest order, largest withdrawal, top-up needed.

Each answer is found by evaluating the whole account at other sizes, and is held between two
evaluated points: one that passes and the next that does not. There is no formula per venue.

Source: house; the conditions are those of requirements rows A11 (orders), A26 (withdrawals:
"withdrawal limit = Equity − IM") and A23 (top-up).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from crossmargin.book import AccountFile, OrderEntry, OrderLeg
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.instruments import parse_instrument
from crossmargin.margin._balance import BalanceProbe
from crossmargin.margin._crossing import Bracket, largest_prefix
from crossmargin.margin._probe import OrderProbe
from crossmargin.margin._protect import permitted
from crossmargin.margin.pretrade import NEW_RISK, PARTS, slack
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

#: Sizes are searched up to this notional unless the caller says otherwise.
CAP_USD = 1e10
#: What is worth less than this is no answer: rounding cannot be told from it.
DUST_USD = 0.01

#: What protect mode must allow for money to leave.
WITHDRAW = "withdraw"

Side = Literal["buy", "sell"]

#: Slack at a size; with True as computed, with False with the bound on rounding added.
Slack = Callable[[float, bool], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimit:
    """The largest order of one instrument on one side.

    Attributes
    ----------
    instrument, side, pool : str
        What is ordered, and where.
    quantity : float
        Units of the instrument, at least 0; 0 when no positive size passes.
    price : float or None
        Limit price; None fills at the mark.
    notional_usd : float
        At the mark.
    unbounded : bool
        Whether even the cap passes: margin does not limit it. Cash may.
    cap_usd : float
        Notional at which the search ends.
    slack_usd : float
        What is left at `quantity`: at least 0, rounding included.
    beyond, slack_beyond_usd : float or None
        The next size that was evaluated and fails, and by how much.
    unknown_beyond : str or None
        Why the rule-set has no figure for sizes from `beyond` on (a charge that is not
        published): nothing is claimed there.
    reason : str
        One sentence.
    """

    instrument: str
    side: Side
    pool: str
    quantity: float
    price: float | None
    notional_usd: float
    unbounded: bool
    cap_usd: float
    slack_usd: float
    beyond: float | None
    slack_beyond_usd: float | None
    unknown_beyond: str | None
    reason: str


def largest_order(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    instrument: str,
    side: Side,
    *,
    price: float | None = None,
    pool: str = "cross",
    lot: float | None = None,
    cap_usd: float = CAP_USD,
    allowed: Collection[str] | None = None,
    allow_debt: bool = True,
) -> SizeLimit:
    """Find the largest order that passes the pre-trade check, open orders included.

    A requirement need not rise with size: an order first reduces what is held, then adds on the
    other side. The search goes past flat; the answer is the largest size all of whose shares
    pass (:func:`~crossmargin.margin.pretrade.check_order`).

    Parameters
    ----------
    account, snapshot, ruleset
        As for the check.
    instrument : str
        Name in any spelling.
    side : {"buy", "sell"}
    price : float, optional
        Limit price; default the mark.
    pool : str
        Pool it is ordered in.
    lot : float, optional
        Smallest step of quantity: the answer is rounded down to a multiple of it.
    cap_usd : float
        Notional at which the search ends and the answer is called unbounded.
    allowed, allow_debt
        As for the check.

    Raises
    ------
    RulesetError
        ``RUL-032`` when the rule-set's open-order margin is not published.
    InputError
        ``INP-004`` a lot or cap that is not positive.
    """
    _positive(lot, "lot")
    _positive(cap_usd, "cap_usd")
    sign = 1.0 if side == "buy" else -1.0
    order = OrderEntry(
        id=unused_id(account),
        legs=[OrderLeg(instrument=instrument, quantity=sign, price=price)],
        pool=pool,
    )
    try:
        probe = OrderProbe(account, snapshot, ruleset, order)
        unit = probe.notional_usd
        allowed = permitted(probe.frame_filled(0.0), allowed)
        protect = allowed is not None and NEW_RISK not in allowed

        known = _Known(
            lambda size, exact: slack(probe, size, reducing=protect, debt=allow_debt, exact=exact)
        )
        found = largest(known, _guess(probe, unit), cap_usd / unit, unit, lot, probe.flat_sizes())
    except CrossmarginError as error:
        raise error.located(account=account.account) from None
    return SizeLimit(
        instrument=parse_instrument(instrument).id,
        side=side,
        pool=pool,
        quantity=found.safe,
        price=price,
        notional_usd=found.safe * unit,
        unbounded=found.dead is None,
        cap_usd=cap_usd,
        slack_usd=found.at_safe,
        beyond=found.dead,
        slack_beyond_usd=_finite(found.at_dead),
        unknown_beyond=known.why if found.at_dead == -math.inf else None,
        reason=_size_reason(found, cap_usd, protect),
    )


class _Known:
    """A slack that stands at minus infinity where the rule-set has no figure.

    The first reason is kept: no claim is made beyond that size.
    """

    def __init__(self, value: Slack) -> None:
        self._value = value
        self.why: str | None = None

    def __call__(self, size: float, exact: bool) -> float:
        try:
            return self._value(size, exact)
        except CrossmarginError as error:
            self.why = self.why or str(error)
            return -math.inf


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _size_reason(found: Bracket, cap_usd: float, protect: bool) -> str:
    if found.at_dead == -math.inf:
        return "beyond it the rule-set has no figure, and nothing is claimed"
    if found.dead is None:
        return f"margin does not limit it up to {cap_usd:,.0f} USD of notional; cash may"
    if found.safe == 0.0:
        return "no positive size passes" + (": no new risk is allowed now" if protect else "")
    return "the next size leaves less equity than initial margin, or adds risk where none may be"


def _guess(probe: OrderProbe, unit: float) -> float:
    """Guess the right size of the answer: the equity's worth of the instrument, or what is held."""
    equity = float(max(0.0, probe.before.equity.sum()))
    return max([equity / unit, *probe.flat_sizes(), 1.0 / unit]) / 4.0


def unused_id(account: AccountFile) -> str:
    """Return an id that no order of the account has."""
    taken = {order.id for order in account.orders}
    name = "asked"
    while name in taken:
        name += "+"
    return name


def _positive(value: float | None, field: str) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise InputError(
            f"{field} is {value:g}, not a positive number", code="INP-004", field=field
        )


def multiple(step: float, count: int) -> float:
    """Return count × step as the decimal it is meant to be: 3 × 0.1 is 0.3."""
    return float(Decimal(repr(step)) * count)


def largest(
    value: Slack,
    first: float,
    cap: float,
    unit_usd: float,
    step: float | None,
    marks: Collection[float] = (),
) -> Bracket:
    """Search, leave dust out, and end on the step or on twelve digits.

    The search asks for a slack of at least 0 as computed. A number that people write (a whole
    step, or at most twelve digits) also passes when only rounding keeps it from 0.
    """
    found = largest_prefix(
        lambda x: value(x, True),
        first,
        cap,
        least=DUST_USD / unit_usd,
        marks=sorted(marks),
        parts=PARTS,
    ).bracket
    if found.safe == 0.0:
        return found
    return _to_digits(value, found) if step is None else _to_steps(value, found, step)


def _to_steps(value: Slack, found: Bracket, step: float) -> Bracket:
    count = math.floor(min(found.safe / step, 1e15))
    # The boundary may sit one rounding below a whole step.
    if found.dead is not None and value(multiple(step, count + 1), False) >= 0:
        count += 1
    inside, beyond = multiple(step, count), multiple(step, count + 1)
    at_inside = value(inside, True) if count else 0.0
    if found.dead is None:
        return Bracket(inside, at_inside, None, None)
    return Bracket(inside, at_inside, beyond, value(beyond, True))


def _to_digits(value: Slack, found: Bracket) -> Bracket:
    if found.dead is None:
        return found
    short = float(f"{found.safe:.12g}")
    if short == found.safe or value(short, False) < 0:
        return found
    dead, at_dead = found.dead, found.at_dead
    if dead <= short:
        dead = short * (1.0 + 1e-11)
        at_dead = value(dead, True)
    return Bracket(short, value(short, True), dead, at_dead)


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalLimit:
    """The most of one asset that may leave a pool.

    Attributes
    ----------
    asset, pool : str
    amount : float
        Units of the asset, at least 0.
    value_usd, counted_usd : float
        At market, and what it counted as margin: the fall of the pot's equity at the initial
        level when it leaves.
    balance : float
        What is there, all locations together.
    whole : bool
        Whether the whole balance may leave (and no debt is allowed).
    unbounded : bool
        Whether even the cap passes; only with debt.
    excess_usd : float
        What is left of the pot's excess once `amount` has left.
    beyond, excess_beyond_usd : float or None
        The next amount that was evaluated and fails.
    reason : str
    """

    asset: str
    pool: str
    amount: float
    value_usd: float
    counted_usd: float
    balance: float
    whole: bool
    unbounded: bool
    excess_usd: float
    beyond: float | None
    excess_beyond_usd: float | None
    reason: str


def largest_withdrawal(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    asset: str,
    *,
    pool: str = "cross",
    debt: bool = False,
    step: float | None = None,
    cap_usd: float = CAP_USD,
    allowed: Collection[str] | None = None,
) -> WithdrawalLimit:
    """Find the most of an asset that may leave a pool: excess over initial margin stays ≥ 0.

    Parameters
    ----------
    account, snapshot, ruleset
        As for :func:`largest_order`; open orders are at their worst fills.
    asset : str
        For example ``"USDC"``.
    pool : str
        Pool it leaves.
    debt : bool
        Whether more may leave than is there.
    step : float, optional
        The answer is rounded down to a multiple of it.
    cap_usd : float
        Where the search ends when debt is allowed.
    allowed : collection of str, optional
        Actions that protect mode leaves: without ``"withdraw"`` among them nothing may leave.
    """
    _positive(step, "step")
    try:
        probe = BalanceProbe(account, snapshot, ruleset, asset, pool)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None
    held, price = probe.held, probe.price_usd
    cap = cap_usd / price if debt else max(held, 0.0)
    allowed = permitted(probe.frame(), allowed)
    shut = allowed is not None and WITHDRAW not in allowed
    nothing = Bracket(0.0, probe.excess_usd(0.0), None, None)
    if shut or cap <= 0.0:
        found = nothing
    elif nothing.at_safe < -probe.rounding:
        found = Bracket(0.0, nothing.at_safe, 0.0, nothing.at_safe)
    else:
        found = _withdrawn(probe, cap, price, step)
    why = (
        "nothing may leave now: prices are not trusted"
        if shut
        else "nothing is there"
        if cap <= 0.0
        else "the pot is below its initial margin already"
        if nothing.at_safe < -probe.rounding
        else "the whole balance may leave"
        if found.dead is None and not debt
        else f"margin does not limit it up to {cap_usd:,.0f} USD"
        if found.dead is None
        else "the next amount leaves less equity than initial margin"
    )
    return WithdrawalLimit(
        asset=asset,
        pool=pool,
        amount=found.safe,
        value_usd=found.safe * price,
        counted_usd=probe.equity_usd(0.0) - probe.equity_usd(-found.safe),
        balance=held,
        whole=not debt and held > 0 and found.safe == held,
        unbounded=debt and found.dead is None and not shut,
        excess_usd=probe.excess_usd(-found.safe),
        beyond=found.dead or None,
        excess_beyond_usd=found.at_dead,
        reason=why,
    )


def _withdrawn(probe: BalanceProbe, cap: float, price: float, step: float | None) -> Bracket:
    def value(amount: float, exact: bool) -> float:
        return probe.excess_usd(-amount) + (0.0 if exact else probe.rounding)

    marks = [probe.held] if 0 < probe.held < cap else []
    first = max(probe.excess_usd(0.0) / price, DUST_USD / price)
    return largest(value, first, cap, price, step, marks)
