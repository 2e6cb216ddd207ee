"""Recorded venue replies (not in this repository) become accounts, and brackets become rates.

The values of these fixtures are partly documentation examples of the venues; what is held to here
are the identities that they state themselves, and the refusals of those that contradict
themselves.
"""

from __future__ import annotations

import gzip
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crossmargin.book import book_from_accounts
from crossmargin.errors import InputError
from crossmargin.margin._formula import tier_rates
from crossmargin.margin.components import Tier
from crossmargin.venues import (
    Bracket,
    BracketTable,
    VenueReading,
    read_account_files,
    read_bracket_file,
    read_brackets,
)

BINANCE = "binance/futures/http_json"
PYTHON = "binance/py_http_responses"


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("CROSSMARGIN_DATA")
    if not folder:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded venue replies are not read")
    if not (Path(folder) / "api_fixtures").is_dir():
        pytest.skip("api_fixtures is not in CROSSMARGIN_DATA: recorded replies are not read")
    return Path(folder)


def read(data: Path, *names: str, **options: Any) -> VenueReading:
    paths = [data / "api_fixtures" / "nautilus_trader" / name for name in names]
    reading = read_account_files(paths, **options)
    book_from_accounts([reading.account])
    return reading


def balances(reading: VenueReading) -> dict[tuple[str, str], Decimal]:
    return {(row.pool, row.asset): Decimal(str(row.amount)) for row in reading.account.balances}


def positions(reading: VenueReading) -> list[tuple[str, str, str | float | None, str]]:
    return [
        (p.instrument, str(p.quantity), p.entry_price, p.leg) for p in reading.account.positions
    ]


# ---------------------------------------------------------------- every reply that we know


READABLE: dict[str, tuple[str, ...]] = {
    "Binance account V2, single-asset": (f"{BINANCE}/account_info_v2.json",),
    "Binance balance": (f"{BINANCE}/balance.json",),
    "Binance position risk, one-way cross": (f"{BINANCE}/position_risk.json",),
    "Binance positions, hedge isolated": (f"{PYTHON}/http_futures_account_positions_hedge.json",),
    "Binance spot wallet": ("binance/spot/http_json/account_response.json",),
    "Bybit unified wallet": ("bybit/http_get_wallet_balance.json",),
    "Bybit unified wallet with spot borrow": (
        "bybit/http_get_wallet_balance_with_spot_borrow.json",
    ),
    "Bybit cross": (
        "bybit/http_get_wallet_balance.json",
        "bybit/http_get_positions.json",
        "bybit/http_get_account_info.json",
    ),
    "Bybit websocket": ("bybit/ws_account_wallet.json", "bybit/ws_account_position.json"),
    "Deribit summaries, segregated": ("deribit/http_get_account_summaries.json",),
    "Deribit portfolio, cross": ("deribit/ws_portfolio.json",),
    "Derive subaccount": ("derive/common/http_subaccount_usdc.json",),
    "Derive positions": ("derive/perps/http_positions_result_eth.json",),
    "Derive position": ("derive/perps/http_position_eth.json",),
    "Hyperliquid spot": ("hyperliquid/http_spot_clearinghouse_state.json",),
    "OKX balance": ("okx/http_get_account_balance.json",),
    "OKX balance detail": ("okx/http_balance_detail_new_fields.json",),
    "OKX websocket": ("okx/ws_account.json",),
    "OKX positions and orders": (
        "okx/http_get_positions.json",
        "okx/http_get_instruments_swap.json",
        "okx/http_get_orders_pending.json",
    ),
}


@pytest.mark.parametrize("name", READABLE)
def test_recorded_reply_is_read_by_its_shape(data: Path, name: str) -> None:
    reading = read(data, *READABLE[name])
    assert reading.venue == name.split()[0].lower()
    assert reading.account.balances or reading.account.positions


# ---------------------------------------------------------------- Binance


def test_binance_single_asset_account(data: Path) -> None:
    reading = read(data, f"{BINANCE}/account_info_v2.json")
    assert balances(reading) == {("cross", "USDT"): Decimal("23.72469206")}
    assert reading.account.positions == []
    assert reading.reported.account is not None
    assert reading.reported.account.unit == "USDT"
    assert "single-asset" in reading.mode


def test_binance_isolated_pledge_is_what_the_event_says(data: Path) -> None:
    """isolatedMargin - profit is the isolated wallet that another recorded message states."""
    reading = read(data, f"{PYTHON}/http_futures_account_positions_hedge.json")
    event_file = data / "api_fixtures/nautilus_trader/binance/futures/user_data_json"
    event = json.loads((event_file / "account_update.json").read_text(encoding="utf-8"))
    pledged = {row["ps"]: Decimal(row["iw"]) for row in event["a"]["P"] if row["ps"] != "BOTH"}
    assert balances(reading) == {
        ("isolated-BTCUSDT-long", "USDT"): pledged["LONG"],
        ("isolated-BTCUSDT-short", "USDT"): pledged["SHORT"],
    }
    # The short leg is recorded with an entry price of 0: it is worked out from its profit.
    assert positions(reading) == [
        ("BTC_USDT-PERPETUAL", "20", "6563.665", "long"),
        ("BTC_USDT-PERPETUAL", "-10", "6563.86", "short"),
    ]
    assert [p.liquidation_price for p in reading.reported.positions] == ["5930.78", "7189.95"]


def test_binance_profit_of_the_recorded_position(data: Path) -> None:
    reading = read(data, f"{BINANCE}/position_risk.json", f"{BINANCE}/balance.json")
    assert balances(reading) == {("cross", "USDT"): Decimal("122.12345678")}
    ((_, quantity, entry, _),) = positions(reading)
    (theirs,) = reading.reported.positions
    profit = Decimal(quantity) * (Decimal(theirs.mark_price or 0) - Decimal(str(entry)))
    assert profit == Decimal(theirs.unrealised or 0) == 1


def test_binance_flat_reply_is_an_account_with_nothing(data: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(data, f"{PYTHON}/http_futures_account_positions_one_way.json")
    assert caught.value.code == "INP-009"


def test_binance_event_is_no_account(data: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(data, "binance/futures/user_data_json/account_update.json")
    assert caught.value.code == "INP-063"


def test_binance_orders(data: Path) -> None:
    reading = read(
        data,
        f"{BINANCE}/balance.json",
        f"{BINANCE}/order_response.json",
        f"{BINANCE}/open_algo_orders.json",
        f"{PYTHON}/http_futures_account_orders.json",
    )
    assert [(o.id, o.legs[0].quantity, o.legs[0].price) for o in reading.account.orders] == [
        ("12345678", "0.001", "50000")
    ]
    assert len(reading.ignored) == 2  # both conditional


def test_two_recorded_balances_contradict_each_other(data: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(data, f"{BINANCE}/account_info_v2.json", f"{BINANCE}/balance.json")
    assert caught.value.code == "INP-062"


# ---------------------------------------------------------------- the others


def test_okx_cash_and_isolated_margin_are_the_equity(data: Path) -> None:
    """eq = cash + isolated margin + profit, on the recorded reply."""
    reading = read(data, "okx/http_get_account_balance.json")
    (usdt,) = reading.reported.assets
    assert balances(reading)["isolated", "USDT"] == Decimal("5.4958666666666672")
    whole = sum(balances(reading).values()) + Decimal(usdt.unrealised or 0)
    assert abs(whole - Decimal(usdt.equity or 0)) < Decimal("1e-13")
    assert any("no reply shows" in note for note in reading.notes)


def test_okx_contracts_and_a_margin_in_another_coin(data: Path) -> None:
    reading = read(
        data,
        "okx/http_get_positions.json",
        "okx/http_get_instruments_swap.json",
        "okx/http_get_orders_pending.json",
    )
    assert positions(reading) == [("BTC_USDT-PERPETUAL", "0.005", "10000", "long")]
    # The recorded row says that a USDT contract's margin is in BTC: kept as said, and told.
    assert balances(reading) == {("isolated-BTC-USDT-SWAP-long", "BTC"): Decimal("0.5")}
    assert any("settles in USDT" in note for note in reading.notes)
    assert [o.legs[0].quantity for o in reading.account.orders] == ["0.001"]
    with pytest.raises(InputError) as caught:
        read(data, "okx/http_get_positions.json")
    assert (caught.value.code, caught.value.instrument) == ("INP-011", "BTC-USDT-SWAP")


def test_bybit_cross_counts_no_fence_and_spot_debt_once(data: Path) -> None:
    reading = read(data, *READABLE["Bybit cross"])
    assert reading.mode == "unified account, cross margin"
    assert balances(reading) == {
        ("cross", "USDT"): Decimal("1000.50"),
        ("cross", "ETH"): Decimal("-0.06142"),
    }
    assert positions(reading) == [
        ("BTC_USDT-PERPETUAL", "0.5", "50000", "net"),
        ("ETH_USDT-PERPETUAL", "-5", "3000", "net"),
    ]
    assert all(p.fenced_margin is None for p in reading.account.positions)
    # The recorded equity of ETH, 0, is not that of its parts: it is said.
    assert any(note.startswith("ETH: the venue says the equity is 0") for note in reading.notes)
    borrowed = read(data, "bybit/http_get_wallet_balance_with_spot_borrow.json")
    (usdt,) = borrowed.reported.assets
    assert balances(borrowed)["cross", "USDT"] == Decimal(usdt.equity or 0) == 1_000


def test_deribit_equity_is_cash_session_profit_and_options(data: Path) -> None:
    reading = read(data, "deribit/http_get_account_summaries.json")
    raw = json.loads(
        (data / "api_fixtures/nautilus_trader/deribit/http_get_account_summaries.json").read_text(
            encoding="utf-8"
        )
    )["result"]["summaries"][0]
    cash = balances(reading)["cross", "BTC"]
    value = cash + Decimal(str(raw["futures_session_upl"])) + Decimal(str(raw["options_value"]))
    assert value == Decimal(str(raw["equity"]))
    # The session's realised profit is what the balance lacks, to the venue's last digit.
    realised = Decimal(str(raw["session_rpl"]))
    assert abs(cash - Decimal(str(raw["balance"])) - realised) <= Decimal("2e-8")
    assert "segregated" in reading.mode
    assert any("get_positions" in note for note in reading.notes)


def test_deribit_cross_portfolio_counts_the_pool_once(data: Path) -> None:
    reading = read(data, "deribit/ws_portfolio.json")
    assert balances(reading) == {("cross", "USDT"): Decimal("55.00055")}
    assert reading.reported.account is not None
    assert reading.reported.account.equity == "54.924283065"
    assert reading.reported.assets[0].im is None


def test_derive_subaccount(data: Path) -> None:
    reading = read(data, "derive/common/http_subaccount_usdc.json")
    assert reading.account.account == "derive-42"
    assert balances(reading) == {("cross", "USDC"): 1_000}
    assert reading.reported.account is not None
    assert reading.reported.account.equity == "1000"
    with pytest.raises(InputError) as caught:
        read(data, *READABLE["Derive subaccount"], *READABLE["Derive positions"])
    assert caught.value.code == "INP-062"


def test_hyperliquid_spot_leaves_out_what_has_no_name(data: Path) -> None:
    reading = read(data, "hyperliquid/http_spot_clearinghouse_state.json")
    assert balances(reading) == {
        ("cross", "USDC"): Decimal("14.625485"),
        ("cross", "PURR"): 2_000,
        ("cross", "HYPE"): Decimal("5.2"),
    }
    assert any("'+10'" in one for one in reading.ignored)


def test_replies_that_are_no_accounts_are_refused(data: Path) -> None:
    """Everything else in the folder is read or refused in a sentence."""
    folder = data / "api_fixtures" / "nautilus_trader"
    read_, refused = 0, 0
    for path in sorted(folder.rglob("*.json")):
        try:
            read_account_files([path])
            read_ += 1
        except InputError as error:
            assert str(error).startswith(error.code)
            refused += 1
    assert read_ >= 18
    assert refused > 200


# ---------------------------------------------------------------- brackets


def test_every_published_deduction_of_binance_is_ours(data: Path) -> None:
    """`cum` of all tiers of the recorded file, exactly and by the engine's own arithmetic."""
    raw = json.loads(
        gzip.decompress((data / "binance_leverage_tiers_2026-09.json.gz").read_bytes())
    )
    compared = 0
    for symbol, rows in raw.items():
        table = BracketTable(
            symbol=symbol,
            key=symbol,
            unit="USDT",
            scheme="marginal",
            brackets=tuple(
                Bracket(
                    floor=Decimal(str(row["minNotional"])),
                    cap=Decimal(str(row["maxNotional"])),
                    im=1 / Decimal(str(row["maxLeverage"])),
                    mm=Decimal(str(row["maintenanceMarginRate"])),
                )
                for row in rows
            ),
        )
        published = [Decimal(str(row["info"]["cum"])) for row in rows]
        assert table.deductions() == published, symbol
        tiers = [Tier(floor=float(b.floor), im=float(b.im), mm=float(b.mm)) for b in table.brackets]
        cum = tier_rates(tiers)[4].tolist()
        assert cum == pytest.approx([float(c) for c in published], rel=1e-12, abs=1e-9), symbol
        compared += len(rows)
    assert compared == 7_276


def test_recorded_bracket_file_is_read_whole(data: Path) -> None:
    reading = read_bracket_file(data / "binance_leverage_tiers_2026-09.json.gz")
    assert reading.venue == "ccxt"
    # Five coins have names in Chinese characters, which ours cannot express: left out aloud.
    assert (len(reading.tables), len(reading.notes)) == (902, 5)
    assert (reading.checked, reading.worst) == (7_276 - 28, 0)


def captured(data: Path, venue: str) -> Any:
    path = data / "api_fixtures" / "cryptofeed" / f"{venue}.0.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return json.loads(next(lines).partition(": ")[2])


def test_margin_levels_of_kraken(data: Path) -> None:
    reading = read_brackets(captured(data, "KRAKEN_FUTURES"))
    tables = {table.symbol: table for table in reading.tables}
    first = [(b.floor, b.im, b.mm) for b in tables["pi_xbtusd"].brackets]
    assert first[1] == (500_000, Decimal("0.04"), Decimal("0.02"))
    assert first[-1] == (50_000_000, Decimal("0.4"), Decimal("0.2"))
    assert tables["pi_xbtusd"].key == "BTC"
    assert len(tables) == 17


def test_risk_limits_of_bitmex(data: Path) -> None:
    reading = read_brackets(captured(data, "BITMEX"))
    tables = {table.symbol: table for table in reading.tables}
    bitcoin = tables["XBTUSD"]
    assert (bitcoin.key, bitcoin.unit, bitcoin.scheme) == ("BTC", "BTC", "whole")
    assert bitcoin.brackets[0].cap == 200
    assert bitcoin.brackets[1].mm == 2 * bitcoin.brackets[0].mm
    left_out = [note for note in reading.notes if "quanto" in note]
    assert len(tables) + len(left_out) == 34


def test_spot_margin_tiers_of_okx_are_left_out_aloud(data: Path) -> None:
    path = data / "api_fixtures/nautilus_trader/okx/http_get_position_tiers.json"
    reading = read_bracket_file(path)
    assert reading.tables == ()
    assert "spot margin" in reading.notes[0]
