"""Accounts from venue replies hand-built from documentation: each test is named after a mistake.

The mistakes are those that users report of other tools (counting pooled equity once per currency,
leaving profit out or counting it twice, mixing isolated with cross, ...).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.venues import replies as R

from crossmargin.book import book_from_accounts, read_account
from crossmargin.cli import main
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.venues import (
    VenueReading,
    account_venues,
    read_account_files,
    read_account_replies,
)


def balances(reading: VenueReading) -> dict[tuple[str, str], Decimal]:
    return {(row.pool, row.asset): Decimal(str(row.amount)) for row in reading.account.balances}


def refusal(replies: list[Any], **options: Any) -> CrossmarginError:
    with pytest.raises(InputError) as caught:
        read_account_replies(replies, **options)
    assert str(caught.value)
    return caught.value


def changed(reply: Any, change: Callable[[Any], None]) -> Any:
    mine = copy.deepcopy(reply)
    change(mine)
    return mine


# ---------------------------------------------------------------- every account


@pytest.mark.parametrize("name", R.ACCOUNTS)
def test_every_hand_built_account_becomes_a_book(name: str) -> None:
    reading = read_account_replies(R.ACCOUNTS[name], account="me")
    assert reading.venue == name.split()[0].lower()
    assert reading.account.account == "me"
    book = book_from_accounts([reading.account])
    assert book.position_quantity.size == len(reading.account.positions)
    assert len(reading.reported.positions) == len(reading.account.positions)
    assert reading.mode and reading.read


@pytest.mark.parametrize(
    ("name", "asset", "equity"),
    [
        ("Binance USD-M", "USDT", "10900"),
        ("Binance COIN-M", "BTC", "1.004"),
        ("OKX multi-currency", "USDT", "8620"),
        ("Bybit cross", "USDT", "9050"),
        ("Bybit isolated", "USDT", "9050"),
        ("Deribit segregated", "BTC", "2.03"),
    ],
)
def test_profit_neither_left_out_nor_counted_twice(name: str, asset: str, equity: str) -> None:
    """All pools' balances and the positions' profits are the venue's equity, exactly."""
    reading = read_account_replies(R.ACCOUNTS[name])
    cash = sum(v for (_, held), v in balances(reading).items() if held == asset)
    profit = sum(Decimal(p.unrealised or 0) for p in reading.reported.positions)
    assert cash + profit == Decimal(equity)
    stated = [f.equity for f in reading.reported.assets if f.unit == asset]
    assert [Decimal(str(one)) for one in stated] == [Decimal(equity)]


@pytest.mark.parametrize("name", R.ACCOUNTS)
def test_entry_price_gives_the_profit_that_the_venue_reports(name: str) -> None:
    """Not the profit since some other moment: linear q(mark - e), inverse q(1/e - 1/mark)."""
    reading = read_account_replies(R.ACCOUNTS[name])
    for ours, theirs in zip(reading.account.positions, reading.reported.positions):
        if theirs.mark_price is None or theirs.unrealised is None or ours.instrument[-2] == "-":
            continue
        q, e, m = (float(x or "nan") for x in (ours.quantity, ours.entry_price, theirs.mark_price))
        inverse = "_" not in ours.instrument
        profit = q * (1 / e - 1 / m) if inverse else q * (m - e)
        assert profit == pytest.approx(float(theirs.unrealised), rel=1e-9, abs=1e-12)


# ---------------------------------------------------------------- pooled equity


def test_pooled_equity_counted_once_per_currency_deribit() -> None:
    reading = read_account_replies([R.DERIBIT_CROSS])
    assert balances(reading) == {("cross", "BTC"): 1, ("cross", "USDC"): 100_000}
    whole = reading.reported.account
    assert whole is not None
    assert (whole.unit, whole.equity, whole.equity_before_haircuts) == (
        "USD",
        "158000.0",
        "160000.0",
    )
    assert (whole.im, whole.mm) == ("31600.0", "19750.0")
    # The margins of the pool stand at the account alone, not in every currency.
    assert [(f.im, f.mm, f.available) for f in reading.reported.assets] == [(None,) * 3] * 2


def test_segregated_margins_stay_with_their_currency() -> None:
    reading = read_account_replies([R.DERIBIT_SEGREGATED])
    assert reading.reported.account is None
    (btc,) = reading.reported.assets
    assert (btc.unit, btc.im, btc.mm) == ("BTC", "0.05", "0.03")


def test_pooled_equity_counted_twice_by_reading_sub_wallets_binance_portfolio() -> None:
    """The UM account repeats 5,000 of the portfolio's 7,000; borrowing and interest are debt."""
    reading = read_account_replies(R.ACCOUNTS["Binance portfolio margin"])
    assert balances(reading) == {
        ("cross", "USDT"): Decimal("6499.5"),
        ("cross", "BTC"): Decimal("0.06"),
    }
    assert any("part of the portfolio balance" in one for one in reading.ignored)
    whole = reading.reported.account
    assert whole is not None and whole.margin_ratio == "412.50000000"
    assert reading.mode == "USD-M, portfolio margin"


def test_unified_balance_and_perpetual_value_both_counted_hyperliquid() -> None:
    unified = read_account_replies(R.ACCOUNTS["Hyperliquid unified"])
    assert balances(unified)["cross", "USDC"] == 500
    assert ("spot", "USDC") not in balances(unified)
    assert unified.reported.account is None
    assert any("unified" in one for one in unified.ignored)


def test_spot_and_perpetual_equity_mixed_hyperliquid() -> None:
    apart = read_account_replies([R.HYPERLIQUID_STATE, R.HYPERLIQUID_SPOT])
    assert balances(apart) == {
        ("cross", "USDC"): 1_000,
        ("isolated-kPEPE", "USDC"): 200,
        ("spot", "USDC"): 500,
        ("spot", "HYPE"): 10,
    }
    assert {p.id: p.mode for p in apart.account.pools} == {
        "isolated-kPEPE": "isolated",
        "spot": "sub_account",
    }
    assert any("kept apart" in note for note in apart.notes)


def test_unified_account_without_its_money_is_refused() -> None:
    error = refusal([R.HYPERLIQUID_STATE, "unifiedAccount"])
    assert error.code == "INP-011" and "spot" in str(error)
    assert refusal([R.HYPERLIQUID_STATE], mode="unified").code == "INP-011"


def test_collateral_read_as_zero_bybit() -> None:
    """A unified account's collateral is its wallet, whatever 'available' fields are empty."""
    wallet = changed(
        R.BYBIT_WALLET,
        lambda r: r["result"]["list"][0]["coin"][0].update(availableToWithdraw="", equity=""),
    )
    assert balances(read_account_replies([wallet])) == {("cross", "USDT"): 8_800}


def test_missing_balance_is_refused_and_not_zero() -> None:
    for reply, path in (
        (R.BYBIT_WALLET, ("result", "list", 0, "coin", 0, "walletBalance")),
        (R.OKX_BALANCE, ("data", 0, "details", 0, "cashBal")),
        (R.BINANCE_ACCOUNT, ("assets", 0, "walletBalance")),
        (R.BINANCE_PM_BALANCE, (0, "umWalletBalance")),
        (R.HYPERLIQUID_STATE, ("marginSummary", "accountValue")),
        (R.HYPERLIQUID_SPOT, ("balances", 0, "total")),
        (R.DERIVE_SUBACCOUNT, ("result", "collaterals", 0, "amount")),
    ):
        mine = copy.deepcopy(reply)
        node = mine
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = None
        error = refusal([mine])
        assert error.code == "INP-011", path
        assert str(path[-1]) in str(error.field)
        assert error.account is not None


# ---------------------------------------------------------------- isolated and cross


def test_isolated_mixed_with_cross_binance() -> None:
    reading = read_account_replies(R.ACCOUNTS["Binance USD-M"])
    assert balances(reading) == {
        ("cross", "USDT"): 10_000,
        ("isolated-ETHUSDT", "USDT"): 600,
    }
    btc, eth = reading.account.positions
    assert (btc.pool, btc.fenced_margin) == ("cross", None)
    assert (eth.pool, eth.fenced_margin) == ("isolated-ETHUSDT", "600")
    assert eth.leverage == 20.0


def test_isolated_margin_with_its_profit_taken_for_the_pledge() -> None:
    """isolatedMargin holds the profit (800 = 600 + 200); the pledge is what is left of it."""
    account = changed(R.BINANCE_ACCOUNT, lambda r: r["positions"][1].pop("isolatedWallet"))
    assert balances(read_account_replies([account, R.BINANCE_POSITIONS])) == {
        ("cross", "USDT"): 10_000,
        ("isolated-ETHUSDT", "USDT"): 600,
    }
    error = refusal([account])
    assert error.code == "INP-011" and error.instrument == "ETHUSDT"


def test_isolated_margin_added_on_top_of_the_wallet() -> None:
    """OKX's cash leaves isolated margin out, Binance's wallet contains it: neither counts twice."""
    okx = read_account_replies(R.ACCOUNTS["OKX multi-currency"])
    assert balances(okx)["cross", "USDT"] == 8_000
    assert balances(okx)["isolated-ETH-USDT-SWAP-short", "USDT"] == 500
    assert not any("isolated" in note for note in okx.notes)


def test_isolated_money_without_its_positions_is_kept_apart() -> None:
    okx = read_account_replies([R.OKX_BALANCE])
    assert balances(okx)["isolated", "USDT"] == 500
    assert any("no reply shows" in note for note in okx.notes)
    account = changed(R.BINANCE_ACCOUNT, lambda r: r.update(positions=[]))
    binance = read_account_replies([account])
    assert balances(binance) == {("cross", "USDT"): 10_000, ("isolated", "USDT"): 600}


def test_cross_position_margin_taken_for_a_fence_bybit() -> None:
    """positionBalance is filled in cross as well, where it fences nothing."""
    cross = read_account_replies(R.ACCOUNTS["Bybit cross"])
    assert cross.account.positions[0].fenced_margin is None
    assert balances(cross) == {("cross", "USDT"): 8_800}
    isolated = read_account_replies(R.ACCOUNTS["Bybit isolated"])
    assert balances(isolated) == {
        ("cross", "USDT"): 6_200,
        ("isolated-BTCUSDT-long", "USDT"): 2_600,
    }
    given = read_account_replies([R.BYBIT_WALLET, R.BYBIT_POSITIONS], mode="isolated")
    assert balances(given) == balances(isolated)


def test_isolated_spot_margin_is_refused() -> None:
    def margin(reply: Any) -> None:
        reply["data"][0].update(instType="MARGIN", instId="BTC-USDT", mgnMode="isolated")

    error = refusal([changed(R.OKX_POSITIONS, margin), R.OKX_INSTRUMENTS])
    assert (error.code, error.instrument) == ("INP-063", "BTC-USDT")


# ---------------------------------------------------------------- prices


def test_zero_liquidation_price_taken_for_a_price() -> None:
    for name in ("Binance USD-M", "OKX multi-currency", "Bybit cross", "Deribit segregated"):
        first = read_account_replies(R.ACCOUNTS[name]).reported.positions[0]
        assert first.liquidation_price is None, name
    eth = read_account_replies(R.ACCOUNTS["Binance USD-M"]).reported.positions[1]
    assert eth.liquidation_price == "3266.66"


def test_first_entry_price_used_after_settlement_deribit() -> None:
    """The profit up to the last settlement is in the balance: 40,000 would count it again."""
    reading = read_account_replies([R.DERIBIT_SEGREGATED, R.DERIBIT_POSITIONS])
    (held,) = reading.account.positions
    entry = float(held.entry_price or 0)
    assert entry == pytest.approx(1 / (0.02 / 100_000 + 1 / 61349.69), rel=1e-12)
    assert reading.reported.positions[0].entry_price == "40000.0"


def test_realised_profit_of_the_session_lost_deribit() -> None:
    assert balances(read_account_replies([R.DERIBIT_SEGREGATED])) == {
        ("cross", "BTC"): Decimal("2.01")
    }


def test_session_price_ignored_bybit_usdc() -> None:
    positions = changed(
        R.BYBIT_POSITIONS,
        lambda r: r["result"]["list"][0].update(symbol="BTCPERP", sessionAvgPrice="50100"),
    )
    reading = read_account_replies([positions])
    (held,) = reading.account.positions
    assert (held.instrument, held.entry_price) == ("BTC_USDC-PERPETUAL", "50100")
    assert any("session" in note for note in reading.notes)


def test_zero_entry_price_taken_for_a_price() -> None:
    positions = changed(R.BINANCE_POSITIONS, lambda r: r[0].update(entryPrice="0.0"))
    reading = read_account_replies([positions])
    assert reading.account.positions[0].entry_price == "60000"  # 61,000 - 100 / 0.1
    assert any("no entry price" in note for note in reading.notes)
    bare = changed(positions, lambda r: r[0].update(markPrice="", notional=""))
    error = refusal([bare])
    assert (error.code, error.instrument) == ("INP-011", "BTCUSDT")


def test_mark_taken_for_the_entry_price_in_a_reply_without_prices() -> None:
    """Account V3 states no price: entry = (notional - profit) / amount."""
    reading = read_account_replies([R.BINANCE_ACCOUNT_V3])
    assert [p.entry_price for p in reading.account.positions] == ["60000", "60500"]


# ---------------------------------------------------------------- sizes, sides, legs


def test_contracts_taken_for_coins_okx() -> None:
    reading = read_account_replies(R.ACCOUNTS["OKX multi-currency"])
    assert [(p.instrument, p.quantity, p.leg) for p in reading.account.positions] == [
        ("BTC_USDT-PERPETUAL", "-0.1", "net"),
        ("ETH_USDT-PERPETUAL", "-2", "short"),
    ]
    error = refusal([R.OKX_POSITIONS])
    assert (error.code, error.instrument) == ("INP-011", "BTC-USDT-SWAP")
    assert "--contract-size BTC-USDT-SWAP=" in str(error)
    given = read_account_replies(
        [R.OKX_POSITIONS], contract_sizes={"BTC-USDT-SWAP": 0.01, "ETH-USDT-SWAP": "0.1"}
    )
    assert [p.quantity for p in given.account.positions] == ["-0.1", "-2"]


def test_contracts_taken_for_dollars_binance_coin_m() -> None:
    reading = read_account_replies(R.ACCOUNTS["Binance COIN-M"])
    assert [(p.instrument, p.quantity) for p in reading.account.positions] == [
        ("BTC-PERPETUAL", "1000")
    ]
    assert refusal([R.BINANCE_COINM_ACCOUNT]).code == "INP-011"


def test_inverse_and_option_names_bybit() -> None:
    inverse = read_account_replies(R.ACCOUNTS["Bybit inverse"])
    assert [(p.instrument, p.quantity) for p in inverse.account.positions] == [
        ("BTC-PERPETUAL", "-5000"),
        ("BTC-27MAR26", "100"),
    ]
    options = read_account_replies([R.BYBIT_OPTIONS])
    assert [(p.instrument, p.quantity) for p in options.account.positions] == [
        ("BTC_USDC-27MAR26-90000-C", "-0.3"),
        ("ETH_USDT-27MAR26-4000-P", "2"),
    ]
    error = refusal([R.BYBIT_INVERSE])
    assert (error.code, error.instrument) == ("INP-001", "BTCUSDH26")


def test_hedge_legs_netted_or_lost() -> None:
    reading = read_account_replies([R.BINANCE_ACCOUNT_V3])
    assert [(p.leg, p.quantity, p.pool) for p in reading.account.positions] == [
        ("long", "0.1", "cross"),
        ("short", "-0.1", "cross"),
    ]
    assert any("hedge mode" in note for note in reading.notes)


def test_short_leg_with_an_unsigned_size() -> None:
    """OKX writes short legs without a sign in long/short mode; Binance signs them."""
    okx = read_account_replies(R.ACCOUNTS["OKX multi-currency"])
    assert okx.account.positions[1].quantity == "-2"
    wrong = changed(R.BINANCE_ACCOUNT_V3, lambda r: r["positions"][1].update(positionAmt="0.1"))
    assert refusal([wrong]).code == "INP-006"
    other = changed(R.BYBIT_POSITIONS, lambda r: r["result"]["list"][0].update(side="Sell"))
    assert refusal([other]).code == "INP-006"
    third = changed(R.DERIBIT_POSITIONS, lambda r: r["result"][0].update(direction="sell"))
    assert refusal([third]).code == "INP-006"


def test_debt_taken_for_an_asset() -> None:
    okx = read_account_replies([R.OKX_BALANCE])
    assert balances(okx)["cross", "BTC"] == Decimal("-0.1001")  # with its accrued interest
    assert balances(read_account_replies([R.BYBIT_WALLET]))["cross", "USDT"] == 9_000 - 200


def test_borrowing_that_is_not_parted_is_refused_bybit() -> None:
    wallet = changed(R.BYBIT_WALLET, lambda r: r["result"]["list"][0]["coin"][0].pop("spotBorrow"))
    error = refusal([wallet])
    assert error.code == "INP-011" and "spotBorrow" in str(error.field)


def test_unpaid_profit_of_perpetuals_lost_derive() -> None:
    reading = read_account_replies([R.DERIVE_SUBACCOUNT])
    # 5,000 - 1.5 interest + (30 realised + 0.25 funding - 10 paid out already)
    assert balances(reading) == {
        ("cross", "USDC"): Decimal("5018.75"),
        ("cross", "weETH"): 2,
    }
    assert reading.account.account == "derive-7"
    assert [(p.instrument, p.quantity) for p in reading.account.positions] == [
        ("ETH_USDC-PERPETUAL", "-2"),
        ("ETH_USDC-27MAR26-4000-C", "-3"),
    ]
    # weETH 6,400 at its mark, the option's value, and the perpetual's open profit: the venue's.
    assert reading.reported.account is not None
    assert Decimal(str(reading.reported.account.equity)) == Decimal("5018.75") + 6_400 - 240 + 20


# ---------------------------------------------------------------- orders


def test_filled_part_of_orders_counted_again() -> None:
    derive = read_account_replies([R.DERIVE_SUBACCOUNT])
    assert [leg.quantity for order in derive.account.orders for leg in order.legs] == ["0.5"]
    deribit = read_account_replies(R.ACCOUNTS["Deribit segregated"])
    assert [(leg.quantity, leg.price) for o in deribit.account.orders for leg in o.legs] == [
        ("-2", "0.02")
    ]
    assert any("BTC-2" in one and "untriggered" in one for one in deribit.ignored)
    hyper = read_account_replies(R.ACCOUNTS["Hyperliquid separate"])
    assert [o.id for o in hyper.account.orders] == ["7"]
    assert any("@107" in one for one in hyper.ignored)


def test_orders_that_are_not_open_are_left_out_aloud_and_impossible_ones_refused() -> None:
    def order(**fields: Any) -> Any:
        row = {
            "ordId": "1",
            "instId": "BTC-USDT-SWAP",
            "state": "live",
            "sz": "10",
            "accFillSz": "4",
            "side": "sell",
            "posSide": "net",
            "tdMode": "cross",
            "px": "62000",
        }
        return {"code": "0", "msg": "", "data": [row | fields]}

    with_order = [R.OKX_BALANCE, R.OKX_INSTRUMENTS]
    held = read_account_replies([*with_order, order()]).account.orders
    assert [(o.legs[0].quantity, o.legs[0].price, o.pool) for o in held] == [
        ("-0.06", "62000", "cross")
    ]
    for fields, word in (
        ({"state": "canceled"}, "canceled"),
        ({"accFillSz": "10"}, "nothing of it is left"),
        ({"tgtCcy": "quote_ccy"}, "quote currency"),
    ):
        reading = read_account_replies([*with_order, order(**fields)])
        assert reading.account.orders == []
        assert any(word in one for one in reading.ignored)
    assert refusal([*with_order, order(accFillSz="11")]).code == "INP-006"
    assert refusal([*with_order, order(side="short")]).code == "INP-003"


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize(
    ("level", "words"),
    [(1, "spot mode"), (2, "futures mode"), (3, "multi-currency"), (4, "portfolio margin")],
)
def test_modes_of_okx(level: int, words: str) -> None:
    reading = read_account_replies([R.OKX_BALANCE, R.okx_configuration(level)])
    assert words in reading.mode


def test_modes_that_the_balance_alone_tells_okx() -> None:
    single = changed(R.OKX_BALANCE, lambda r: r["data"][0].update(adjEq="", imr="", mmr=""))
    assert "each settlement asset by itself" in read_account_replies([single]).mode
    assert "one pool" in read_account_replies([R.OKX_BALANCE]).mode


@pytest.mark.parametrize("multi", [True, False])
def test_modes_of_binance(multi: bool) -> None:
    account = changed(R.BINANCE_ACCOUNT, lambda r: r.update(multiAssetsMargin=multi))
    reading = read_account_replies([account])
    assert ("multi-assets" in reading.mode) == multi
    assert reading.reported.account is not None
    # In single-asset mode the venue's totals are those of USDT alone.
    assert reading.reported.account.unit == ("USD" if multi else "USDT")


def test_margin_type_from_the_symbol_settings() -> None:
    settings = [
        {"symbol": "BTCUSDT", "marginType": "CROSSED", "leverage": 25, "isAutoAddMargin": False}
    ]
    positions = changed(R.BINANCE_POSITIONS[:1], lambda r: [r[0].pop("leverage")])
    reading = read_account_replies([positions, settings])
    assert reading.account.positions[0].leverage == 25.0


# ---------------------------------------------------------------- refusals


def test_replies_of_different_moments_are_refused() -> None:
    later = changed(R.BINANCE_POSITIONS, lambda r: r[0].update(positionAmt="0.2"))
    error = refusal([R.BINANCE_ACCOUNT, later])
    assert (error.code, error.instrument) == ("INP-062", "BTCUSDT")
    balance = [{"asset": "USDT", "balance": "9", "crossWalletBalance": "9", "accountAlias": "a"}]
    assert refusal([R.BINANCE_ACCOUNT, balance]).code == "INP-062"
    other = {
        "subaccount_id": 7,
        "positions": [{"instrument_name": "ETH-PERP", "amount": "1", "average_price": "1"}],
    }
    assert refusal([R.DERIVE_SUBACCOUNT, other]).code == "INP-062"
    poor = changed(R.BINANCE_ACCOUNT, lambda r: r["positions"][1].update(isolatedWallet="700"))
    assert refusal([poor]).code == "INP-062"


@pytest.mark.parametrize(
    "reply",
    [
        R.BINANCE_ACCOUNT,
        R.OKX_BALANCE,
        R.BYBIT_WALLET,
        R.DERIBIT_CROSS,
        R.DERIBIT_POSITIONS,
        R.HYPERLIQUID_STATE,
        R.HYPERLIQUID_SPOT,
        R.DERIVE_SUBACCOUNT,
    ],
)
def test_the_same_reply_twice_is_refused_or_counted_once(reply: Any) -> None:
    once = read_account_replies([reply, R.OKX_INSTRUMENTS] if reply is R.OKX_POSITIONS else [reply])
    try:
        twice = read_account_replies([reply, copy.deepcopy(reply)])
    except InputError as error:
        assert error.code == "INP-062"
    else:
        assert balances(twice) == balances(once)
        assert twice.account.positions == once.account.positions


@pytest.mark.parametrize(
    ("reply", "symbol"),
    [
        (
            changed(R.BINANCE_POSITIONS, lambda r: r[0].update(symbol="币安人生USDT")),
            "币安人生USDT",
        ),
        (changed(R.BINANCE_POSITIONS, lambda r: r[0].update(symbol="BTCEUR")), "BTCEUR"),
        (
            changed(R.OKX_POSITIONS, lambda r: r["data"][0].update(instId="BTC-USD_UM-SWAP")),
            "BTC-USD_UM-SWAP",
        ),
        (
            changed(R.BYBIT_POSITIONS, lambda r: r["result"]["list"][0].update(symbol="BTC/X")),
            "BTC/X",
        ),
        (
            changed(
                R.HYPERLIQUID_STATE,
                lambda r: r["assetPositions"][0]["position"].update(coin="xyz:TSLA"),
            ),
            "xyz:TSLA",
        ),
        (
            changed(
                R.DERIVE_SUBACCOUNT,
                lambda r: r["result"]["positions"][1].update(instrument_name="ETH-20260231-4000-C"),
            ),
            "ETH-20260231-4000-C",
        ),
        (
            changed(R.DERIBIT_POSITIONS, lambda r: r["result"][0].update(instrument_name="BTC-FS")),
            "BTC-FS",
        ),
    ],
)
def test_instruments_without_a_name_are_refused_with_account_and_field(
    reply: Any, symbol: str
) -> None:
    error = refusal([reply], account="desk", contract_sizes={symbol: 1, "BTC-USDT-SWAP": 1})
    assert (error.code, error.account, error.instrument) == ("INP-001", "desk", symbol)
    assert error.field is not None and symbol in str(error)


def test_assets_without_a_name_are_left_out_aloud_and_owed_ones_refused() -> None:
    row = {"coin": "+10", "token": 9, "total": "25", "hold": "0", "entryNtl": "0"}
    spot = changed(R.HYPERLIQUID_SPOT, lambda r: r["balances"].append(row))
    reading = read_account_replies([spot])
    assert any("'+10'" in one for one in reading.ignored)
    owed = changed(spot, lambda r: r["balances"][-1].update(total="-25"))
    assert refusal([owed]).code == "INP-063"


@pytest.mark.parametrize(
    "reply",
    [
        {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
        {"code": "50111", "msg": "Invalid OK-ACCESS-KEY", "data": []},
        {"retCode": 10003, "retMsg": "API key is invalid.", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 13009, "message": "unauthorized"}},
        {"id": 1, "error": {"code": -32000, "message": "rate limit"}},
    ],
)
def test_a_venues_own_error_is_passed_on(reply: Any) -> None:
    error = refusal([reply])
    assert error.code == "INP-032" and "no account was read" in str(error)


@pytest.mark.parametrize("reply", [{}, [], {"a": 1}, [1], None, 3, "hello", [[]], {"data": {}}])
def test_unknown_shapes_are_refused(reply: Any) -> None:
    assert refusal([reply]).code == "INP-060"


def test_replies_of_two_venues_and_other_venues_are_refused() -> None:
    assert refusal([R.OKX_BALANCE, R.BYBIT_WALLET]).code == "INP-061"
    assert refusal([R.OKX_BALANCE], venue="bybit").code == "INP-060"
    assert refusal([R.OKX_BALANCE], venue="mtgox").code == "INP-060"
    assert refusal([R.BINANCE_ACCOUNT, {"e": "ACCOUNT_UPDATE", "a": {}}]).code == "INP-063"
    usdm_and_coinm = [R.BINANCE_ACCOUNT, R.BINANCE_COINM_ACCOUNT, R.BINANCE_COINM_INFORMATION]
    assert refusal(usdm_and_coinm).code == "INP-062"
    assert refusal([R.OKX_BALANCE], contract_sizes={"X": -1}).code == "INP-004"


def test_figures_are_kept_in_the_venues_own_digits() -> None:
    reading = read_account_replies(R.ACCOUNTS["Binance USD-M"])
    btc = reading.reported.positions[0]
    assert (btc.unrealised, btc.mark_price, btc.mm) == ("100.00000000", "61000.0", "24.4")
    assert reading.reported.account is not None
    assert reading.reported.account.equity == "10900.00000000"


def test_every_venue_has_a_hand_built_account() -> None:
    assert {name.split()[0].lower() for name in R.ACCOUNTS} == set(account_venues())


# ---------------------------------------------------------------- files and the command


def written(folder: Path, replies: list[Any]) -> list[str]:
    paths = []
    for number, reply in enumerate(replies):
        path = folder / f"reply-{number}.json"
        path.write_bytes(msgspec.json.encode(reply))
        paths.append(str(path))
    return paths


def test_files_and_command_give_the_same_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = written(tmp_path, R.ACCOUNTS["Binance USD-M"])
    out = tmp_path / "account.json"
    assert main(["account", *paths, "--out", str(out), "--name", "desk"]) == 0
    shown = capsys.readouterr().out
    assert "BTC_USDT-PERPETUAL" in shown and "3266.66" in shown and "10900.00000000" in shown
    assert read_account(out) == read_account_files(paths, account="desk").account
    assert main(["account", *paths, "--json"]) == 0
    reading = msgspec.json.decode(capsys.readouterr().out.encode(), type=VenueReading)
    assert reading == read_account_files(paths)


def test_command_refuses_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = written(tmp_path, [R.OKX_POSITIONS])
    assert main(["account", *paths]) == 2
    assert capsys.readouterr().err.startswith("INP-011: ")
    assert main(["account", *paths, "--contract-size", "BTC-USDT-SWAP=zero"]) == 2
    assert capsys.readouterr().err.startswith("INP-013: ")
    assert main(["account", paths[0], paths[0]]) == 2
    assert capsys.readouterr().err.startswith("INP-062: ")
    deep = tmp_path / "deep.json"
    deep.write_bytes(b"[" * 200_000)
    assert main(["account", str(deep)]) == 2
    assert capsys.readouterr().err.startswith("INP-002: ")


def test_numbers_that_no_account_holds_are_refused() -> None:
    for value in (10**5_000, 10**20, 1e300, float("nan"), float("inf"), "1e99999", "9" * 400, True):
        positions = changed(R.BINANCE_POSITIONS, lambda r, v=value: r[0].update(positionAmt=v))
        error = refusal([positions])
        assert (error.code, error.instrument) == ("INP-004", "BTCUSDT")
        named = changed(R.HYPERLIQUID_ORDERS, lambda r, v=value: r[0].update(oid=v))
        assert read_account_replies([R.HYPERLIQUID_STATE, named]).account.orders


def test_positions_alone_are_said_to_have_no_balance() -> None:
    for name in ("Bybit inverse", "Bybit options"):
        reading = read_account_replies(R.ACCOUNTS[name])
        assert any("no reply states a balance" in note for note in reading.notes)
