"""Accounts from ccxt's unified structures; the dictionaries are built by hand after its manual."""

from __future__ import annotations

from typing import Any

import pytest

from crossmargin.book import book_from_accounts
from crossmargin.errors import InputError
from crossmargin.venues import account_from_ccxt


def position(symbol: str = "BTC/USDT:USDT", **fields: Any) -> dict[str, Any]:
    base = {
        "info": {},
        "symbol": symbol,
        "contracts": 3.0,
        "contractSize": 0.1,
        "side": "long",
        "entryPrice": 60_000.0,
        "leverage": 10.0,
        "marginMode": "cross",
        "collateral": 1_850.0,
        "initialMargin": 1_800.0,
        "unrealizedPnl": 50.0,
        "hedged": False,
    }
    return base | fields


def order(symbol: str = "BTC/USDT:USDT", **fields: Any) -> dict[str, Any]:
    base = {
        "id": "7",
        "symbol": symbol,
        "side": "buy",
        "type": "limit",
        "price": 59_000.0,
        "amount": 5.0,
        "filled": 1.0,
        "remaining": 4.0,
        "status": "open",
    }
    return base | fields


BALANCE: dict[str, Any] = {
    "info": {},
    "timestamp": 1,
    "datetime": "2026-02-03T00:00:00Z",
    "USDT": {"free": 100.0, "used": 20.0, "total": 120.0},
    "free": {"USDT": 100.0},
    "used": {"USDT": 20.0},
    "total": {"USDT": 120.0},
}


def read(
    positions: list[dict[str, Any]] | None = None,
    orders: list[dict[str, Any]] | None = None,
    balance: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    return account_from_ccxt(
        positions or [], BALANCE if balance is None else balance, orders or [], "alice", **options
    )


def test_quantity_is_contracts_times_contract_size() -> None:
    account = read([position()])
    (held,) = account.positions
    assert held.instrument == "BTC_USDT-PERPETUAL"
    assert held.quantity == "0.3"  # exactly, not 0.30000000000000004
    assert (held.entry_price, held.leg, held.leverage) == ("60000", "net", 10.0)
    assert held.fenced_margin is None
    assert account.account == "alice"


def test_inverse_contracts_count_dollars_and_options_coins() -> None:
    account = read(
        [
            position("BTC/USD:BTC", contracts=12, contractSize=100, side="short"),
            position(
                "BTC/USD:BTC-260327-90000-C", contracts="0.7", contractSize=1, entryPrice=None
            ),
        ]
    )
    inverse, option = account.positions
    assert (inverse.instrument, inverse.quantity) == ("BTC-PERPETUAL", "-1200")
    assert (option.instrument, option.quantity) == ("BTC-27MAR26-90000-C", "0.7")
    assert option.entry_price is None


def test_a_signed_short_is_not_turned_round() -> None:
    (held,) = read([position(contracts=-3.0, side="short")]).positions
    assert held.quantity == "-0.3"
    (held,) = read([position(contracts=-3.0, side=None)]).positions
    assert held.quantity == "-0.3"
    with pytest.raises(InputError) as caught:
        read([position(contracts=-3.0)])
    assert caught.value.code == "INP-006"


def test_flat_rows_are_skipped() -> None:
    flat = position(contracts=0.0, contractSize=None, entryPrice=None)
    unknown = position(contracts=None, side=None)
    assert read([flat, unknown]).positions == []


def test_both_sides_of_one_symbol_are_legs() -> None:
    account = read(
        [
            position(hedged=True),
            position(side="short", contracts=1.0, hedged=True),
            position("ETH/USDT:USDT", contractSize=1),
        ]
    )
    assert [(one.leg, one.quantity) for one in account.positions] == [
        ("long", "0.3"),
        ("short", "-0.1"),
        ("net", "3"),
    ]
    assert book_from_accounts([account]).position_leg.tolist() == [1, 2, 0]


def test_isolated_positions_have_fenced_margin_without_their_profit() -> None:
    isolated = position(marginMode="isolated")
    assert read([isolated]).positions[0].fenced_margin == "1800"
    kept = read([isolated], collateral_includes_pnl=False)
    assert kept.positions[0].fenced_margin == "1850"
    fallback = position(marginMode="isolated", collateral=None)
    assert read([fallback]).positions[0].fenced_margin == "1800"
    with pytest.raises(InputError, match="no collateral"):
        read([position(marginMode="isolated", collateral=None, initialMargin=None)])
    with pytest.raises(InputError, match="pledged") as caught:
        read([position(marginMode="isolated", collateral=10.0)])
    assert "collateral_includes_pnl=False" in str(caught.value)


def test_balances_are_net_of_debt() -> None:
    balance = {
        "info": {},
        "USDT": {"free": 90.0, "used": 10.0, "total": 100.0, "debt": 250.5},
        "BTC": {"free": 1.0, "used": 0.5, "total": None},
        "ETH": {"free": 0.0, "used": 0.0, "total": 0.0},
        "DOGE": {"free": None, "used": None, "total": -3.0, "debt": 3.0},
        "total": {"USDT": 100.0, "SOL": "2.500"},
        "debt": {"SOL": 1},
    }
    account = read(balance=balance)
    assert {one.asset: one.amount for one in account.balances} == {
        "USDT": "-150.5",
        "BTC": "1.5",
        "DOGE": "-3",
        "SOL": "1.5",
    }
    with pytest.raises(InputError, match="balance of BTC has no total") as caught:
        read(balance={"BTC": {"free": 1.0}})
    assert caught.value.code == "INP-011"


def test_orders_take_the_contract_size_of_the_position() -> None:
    account = read([position()], [order(), order(id="8", side="sell", remaining=None)])
    first, second = account.orders
    assert (first.id, first.legs[0].quantity, first.legs[0].price) == ("7", "0.4", "59000")
    assert second.legs[0].quantity == "-0.4"


def test_orders_without_a_position_need_the_contract_size() -> None:
    with pytest.raises(InputError, match="contract size") as caught:
        read(orders=[order()])
    assert (caught.value.code, caught.value.account) == ("INP-011", "alice")
    assert "contract_sizes" in str(caught.value)
    sized = read(orders=[order()], contract_sizes={"BTC/USDT:USDT": 0.001})
    assert sized.orders[0].legs[0].quantity == "0.004"
    # Deribit's amounts are dollars or coins already, whatever the market's contract size.
    deribit = read(
        [position("BTC/USD:BTC", contracts=-500.0, contractSize=None, side="short")],
        [order("BTC/USD:BTC", remaining=20.0)],
        contract_sizes=1,
    )
    assert deribit.positions[0].quantity == "-500"
    assert deribit.orders[0].legs[0].quantity == "20"


def test_spot_and_market_orders() -> None:
    account = read(orders=[order("BTC/USDT", remaining=0.25, price=None, id=None)])
    (entry,) = account.orders
    assert entry.id == "order-0"
    assert (entry.legs[0].instrument, entry.legs[0].quantity) == ("BTC_USDT", "0.25")
    assert entry.legs[0].price is None


def test_finished_orders_are_skipped() -> None:
    done = [order(remaining=0.0), order(status="canceled"), order(status="closed")]
    assert read(orders=done).orders == []


@pytest.mark.parametrize(
    ("positions", "orders", "code", "field"),
    [
        ([position("NO SUCH")], [], "INP-001", "positions[0].symbol"),
        ([position(symbol=None)], [], "INP-003", "positions[0].symbol"),
        ([position(contracts="many")], [], "INP-004", "positions[0].contracts"),
        ([position(contracts=float("nan"))], [], "INP-004", "positions[0].contracts"),
        ([position(contracts=None)], [], "INP-011", "positions[0].contracts"),
        ([position(contractSize=None)], [], "INP-011", "positions[0].contractSize"),
        ([position(contractSize=0)], [], "INP-004", "positions[0].contractSize"),
        ([position(entryPrice=None)], [], "INP-011", "positions[0].entryPrice"),
        ([position(entryPrice=0)], [], "INP-011", "positions[0].entryPrice"),
        ([position(side="both")], [], "INP-006", "positions[0].side"),
        ([position(), position()], [], "INP-007", "positions[1]"),
        ([position()], [order(side=None)], "INP-006", "orders[0].side"),
        ([position()], [order(remaining=-1)], "INP-006", "orders[0].side"),
        ([position()], [order(remaining=None, amount=None)], "INP-011", "orders[0].remaining"),
        ([position()], [order(), order()], "INP-007", "orders[1].id"),
        ([position()], ["x"], "INP-003", "orders[0]"),
        ({"a": 1}, [], "INP-003", "positions"),
    ],
)
def test_errors_name_account_and_field(positions: Any, orders: Any, code: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        account_from_ccxt(positions, BALANCE, orders, "alice")
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.account == "alice"


def test_a_whole_account_makes_a_book() -> None:
    account = read(
        [position(marginMode="isolated"), position("BTC/USD:BTC", contractSize=100)],
        [order()],
    )
    book = book_from_accounts([account])
    assert book.position_quantity.tolist() == [0.3, 300.0]
    assert book.position_fence[0] == 1_800.0
    assert book.leg_quantity.tolist() == [0.4]
    assert book.balance_amount.tolist() == [120.0]
