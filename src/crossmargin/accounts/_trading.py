"""Positions and what a trade does to them.

A trade of value N moves the contracts one way and N from the buyer's cost line to the seller's.
What it closes releases its share of the cost, and the difference, the realised profit, leaves the
cost line for the wallet. The rest of the cost stays where it is, so a partial close has no
residue and the average entry of what remains does not move.
"""

from __future__ import annotations

from crossmargin.accounts.amounts import PLACES, fixed, power_of_ten, scaled, toward_zero_div
from crossmargin.accounts.chart import FEES, VENUE_POT, Line
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.events import Side, Trade
from crossmargin.accounts.pots import Leg, Position, Pot
from crossmargin.accounts.state import State
from crossmargin.errors import LedgerError


def find_position(state: State, contract: Contract, pot: Pot, leg: Leg) -> Position:
    """Return the position of a side, checking that its leg fits the account.

    Raises
    ------
    LedgerError
        ``LED-008``.
    """
    account = pot.account
    wanted = "net" if account is None else account.legs
    if (leg == "net") != (wanted == "net"):
        raise LedgerError(
            f"{pot.name} keeps {wanted} legs, and the leg given is {leg!r}",
            code="LED-008",
            account=None if account is None else account.id,
            instrument=contract.id,
            field="leg",
            hint="give leg long or short in hedge mode, and no leg in net mode",
        )
    return state.position(pot, contract, leg)


def quantity_of(contract: Contract, text: str) -> int:
    """Read a positive quantity of a contract."""
    return scaled(text, contract.quantity_decimals, name="quantity", sign="positive")


def price_of(contract: Contract, text: str) -> int:
    """Read a price: at least 0, and above it where the value divides by it."""
    return fixed(text, name="price", sign="positive" if contract.inverse else "not negative")


def income_line(position: Position) -> Line:
    """Return where the profit of a position goes: the wallet, or the session until it settles."""
    contract = position.contract
    if contract.session:
        return position.pot.line("session", contract.settlement)
    return position.pot.wallet(contract.settlement)


def exchange(
    state: State, buyer: Position, seller: Position, quantity: int, value: int, code: str = "trade"
) -> None:
    """Carry out a trade between two positions of one contract.

    Parameters
    ----------
    quantity : int
        Contract quanta, > 0.
    value : int
        Settlement quanta; see :meth:`Contract.traded_value`.
    """
    if buyer is seller:
        raise LedgerError(
            f"{buyer.pot.name} trades with itself",
            code="LED-008",
            account=buyer.pot.account.id if buyer.pot.account else None,
            instrument=buyer.contract.id,
            hint="give two sides",
        )
    ledger, contract = state.ledger, buyer.contract
    before_buyer, before_seller = buyer.held.balance, seller.held.balance
    ledger.pay(seller.held, buyer.held, quantity, code)
    if contract.premium_at_once:
        settlement = contract.settlement
        ledger.pay(buyer.pot.wallet(settlement), seller.pot.wallet(settlement), value, "premium")
    else:
        ledger.pay(buyer.cost, seller.cost, value, "entry")
        _realise(state, buyer, before_buyer, quantity, -value)
        _realise(state, seller, before_seller, -quantity, value)
    _check_leg(buyer)
    _check_leg(seller)


def _realise(state: State, position: Position, before: int, change: int, flow: int) -> None:
    """Pay out the profit of what a trade has closed.

    Parameters
    ----------
    before, change : int
        Contract quanta held before, and traded.
    flow : int
        What the trade has added to the cost line.
    """
    if before == 0 or (before > 0) == (change > 0):
        return
    size, held = abs(change), abs(before)
    cost = position.cost.balance - flow
    if size >= held:
        part = flow if size == held else toward_zero_div(flow * held, size)
        realised = cost + part
    else:
        realised = toward_zero_div(cost * size, held) + flow
    realise(state, position, realised)


def realise(state: State, position: Position, profit: int) -> None:
    """Move profit (or loss, < 0) from the cost line to the wallet or the session."""
    if profit:
        contract = position.contract
        state.ledger.pay(position.cost, income_line(position), profit, "realised")
        state.set(contract, "realised", contract.realised + profit)


def _check_leg(position: Position) -> None:
    held = position.held.balance
    if (position.leg == "long" and held < 0) or (position.leg == "short" and held > 0):
        raise LedgerError(
            f"the trade closes more than the {position.leg} leg holds",
            code="LED-008",
            account=position.pot.account.id if position.pot.account else None,
            instrument=position.contract.id,
            field="quantity",
            hint="open the other leg by a trade of its own",
        )


def sides(state: State, trade: Trade) -> tuple[Pot, Pot]:
    """Return buyer's and seller's pot; a side left out is the venue.

    Raises
    ------
    LedgerError
        ``LED-008`` when neither side is given.
    """
    if trade.buyer is None and trade.seller is None:
        raise LedgerError(
            "a trade needs a buyer or a seller", code="LED-008", instrument=trade.instrument
        )
    venue = state.system[VENUE_POT]
    buyer = venue if trade.buyer is None else state.pot(trade.buyer.account, trade.buyer.pot)
    seller = venue if trade.seller is None else state.pot(trade.seller.account, trade.seller.pot)
    return buyer, seller


def book_trade(state: State, trade: Trade) -> tuple[Pot, Pot]:
    """Book a trade and its fees, and return the pots of its sides."""
    contract = state.contract(trade.instrument)
    buyer, seller = sides(state, trade)
    quantity = quantity_of(contract, trade.quantity)
    value = contract.traded_value(quantity, price_of(contract, trade.price))
    if contract.kind == "spot":
        _exchange_coins(state, contract, buyer, seller, quantity, value)
    else:
        exchange(
            state,
            find_position(state, contract, buyer, trade.buyer.leg if trade.buyer else "net"),
            find_position(state, contract, seller, trade.seller.leg if trade.seller else "net"),
            quantity,
            value,
        )
    charge(state, contract, buyer, trade.buyer)
    charge(state, contract, seller, trade.seller)
    return buyer, seller


def charge(state: State, contract: Contract, pot: Pot, side: Side | None, sign: int = 1) -> None:
    """Charge the fee of a side; `sign` −1 gives it back."""
    if side is None or side.fee == "0":
        return
    asset = side.fee_asset or contract.settlement
    amount = scaled(side.fee, state.asset(asset).decimals, name="fee")
    state.ledger.pay(pot.wallet(asset), state.ledger.line(FEES, asset), sign * amount, "fee")


def _exchange_coins(
    state: State, contract: Contract, buyer: Pot, seller: Pot, quantity: int, value: int
) -> None:
    """Exchange coins for money between wallets."""
    if buyer is seller:
        raise LedgerError(f"{buyer.name} trades with itself", code="LED-008")
    coins = coins_of(state, contract, quantity)
    ledger = state.ledger
    ledger.pay(seller.wallet(contract.underlying), buyer.wallet(contract.underlying), coins, "spot")
    ledger.pay(buyer.wallet(contract.settlement), seller.wallet(contract.settlement), value, "spot")
    for pot, asset in ((seller, contract.underlying), (buyer, contract.settlement)):
        account = pot.account
        if account is not None and not account.borrowing and pot.wallet(asset).balance < 0:
            raise LedgerError(
                f"{pot.name} does not have the {asset} that it sells or pays with",
                code="LED-005",
                account=account.id,
                instrument=contract.id,
                field="quantity",
                hint="allow the account to borrow, or deposit first",
            )


def coins_of(state: State, contract: Contract, quantity: int) -> int:
    """Return the quanta of coin in a quantity of a spot instrument, which must be whole."""
    decimals = state.asset(contract.underlying).decimals
    top = quantity * contract.size * power_of_ten(decimals)
    coins, rest = divmod(top, power_of_ten(PLACES + contract.quantity_decimals))
    if rest:
        raise LedgerError(
            f"the quantity is not a whole number of quanta of {contract.underlying}",
            code="LED-001",
            instrument=contract.id,
            field="quantity",
            hint=f"{contract.underlying} has {decimals} decimals",
        )
    return coins
