"""Margin brackets from replies hand-built from documentation, and as parameters of a rule-set."""

from __future__ import annotations

import copy
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.helpers import AS_OF
from tests.unit.venues import replies as R

from crossmargin.cli import main
from crossmargin.cli._io import parse_overrides
from crossmargin.errors import InputError
from crossmargin.margin import load_ruleset
from crossmargin.margin._formula import tier_margin, tier_rates
from crossmargin.margin.components import RateMargin
from crossmargin.venues import (
    BracketReading,
    BracketTable,
    choose_brackets,
    parameters_toml,
    read_brackets,
)

#: USD-M, hand-built from documentation; `cum` by the FAQ's recursion, worked out on paper.
BINANCE: Any = [
    {
        "symbol": "BTCUSDT",
        "brackets": [
            {
                "bracket": place,
                "initialLeverage": lever,
                "notionalFloor": low,
                "notionalCap": high,
                "maintMarginRatio": mm,
                "cum": cum,
            }
            for place, lever, low, high, mm, cum in (
                (1, 125, 0, 50_000, 0.004, 0.0),
                (2, 100, 50_000, 250_000, 0.005, 50.0),
                (3, 50, 250_000, 1_000_000, 0.01, 1_300.0),
                (4, 20, 1_000_000, 5_000_000, 0.025, 16_300.0),
            )
        ],
    }
]
#: COIN-M BTCUSD, hand-built from documentation, sizes in coins: leverages and limits as in Binance
#: FAQ be2c7d9d95b04a7e8044ed02dd7dfe5c; the rates are those that give the 0.56 and 1.81 of the
#: other FAQ's worked example (ceccfcfb4e3a45e3b48b0b1bb1a8ae46).
BINANCE_COIN: Any = [
    {
        "symbol": "BTCUSD_PERP",
        "brackets": [
            {
                "bracket": place,
                "initialLeverage": lever,
                "qtyFloor": low,
                "qtyCap": high,
                "maintMarginRatio": mm,
                "cum": cum,
            }
            for place, lever, low, high, mm, cum in (
                (1, 125, 0, 10, 0.004, 0.0),
                (2, 100, 10, 20, 0.005, 0.01),
                (3, 50, 20, 30, 0.01, 0.11),
                (4, 20, 30, 50, 0.025, 0.56),
                (5, 10, 50, 100, 0.05, 1.81),
            )
        ],
    }
]
KRAKEN: Any = {
    "result": "success",
    "instruments": [
        {
            "symbol": "PI_XBTUSD",
            "type": "futures_inverse",
            "contractSize": 1,
            "marginLevels": [
                {"contracts": 0, "initialMargin": 0.02, "maintenanceMargin": 0.01},
                {"contracts": 500000, "initialMargin": 0.04, "maintenanceMargin": 0.02},
            ],
        },
        {
            "symbol": "PF_ETHUSD",
            "type": "flexible_futures",
            "contractSize": 1,
            "marginLevels": [
                {"numNonContractUnits": 0, "initialMargin": 0.02, "maintenanceMargin": 0.01},
                {"numNonContractUnits": 250000, "initialMargin": 0.04, "maintenanceMargin": 0.02},
            ],
        },
        {"symbol": "in_xbtusd", "type": "spot index"},
    ],
}
#: BitMEX's page of risk limit examples: XBTUSD from 0.5 % / 1 %, 200 XBT and steps of 150.
BITMEX: Any = [
    {
        "symbol": "XBTUSD",
        "rootSymbol": "XBT",
        "typ": "FFWCSX",
        "underlying": "XBT",
        "quoteCurrency": "USD",
        "settlCurrency": "XBt",
        "isQuanto": False,
        "isInverse": True,
        "initMargin": 0.01,
        "maintMargin": 0.005,
        "riskLimit": 20_000_000_000,
        "riskStep": 15_000_000_000,
    },
    {
        "symbol": "ETHUSD",
        "rootSymbol": "ETH",
        "typ": "FFWCSX",
        "underlying": "ETH",
        "quoteCurrency": "USD",
        "settlCurrency": "XBt",
        "isQuanto": True,
        "isInverse": False,
        "initMargin": 0.02,
        "maintMargin": 0.01,
        "riskLimit": 5_000_000_000,
        "riskStep": 5_000_000_000,
    },
]
CCXT: Any = {
    "BTC/USDT:USDT": [
        {
            "tier": 1,
            "currency": "USDT",
            "minNotional": 0,
            "maxNotional": 100_000,
            "maintenanceMarginRate": 0.01,
            "maxLeverage": 50,
            "info": {},
        },
        {
            "tier": 2,
            "currency": "USDT",
            "minNotional": 100_000,
            "maxNotional": 500_000,
            "maintenanceMarginRate": 0.02,
            "maxLeverage": 25,
            "info": {},
        },
    ]
}
SHAPES: dict[str, Any] = {
    "binance": BINANCE,
    "binance-coin": BINANCE_COIN,
    "bybit": R.BYBIT_RISK_LIMITS,
    "okx": R.OKX_TIERS,
    "kraken": KRAKEN,
    "bitmex": BITMEX,
    "ccxt": CCXT,
}


def slices(size: Decimal, table: BracketTable) -> Decimal:
    """Maintenance margin slice by slice, in a plain loop."""
    margin = Decimal(0)
    for bracket in table.brackets:
        top = size if bracket.cap is None else min(size, bracket.cap)
        if size > bracket.floor:
            margin += (top - bracket.floor) * bracket.mm
    return margin


def test_deductions_are_the_published_ones() -> None:
    for reply, brackets in ((BINANCE, 4), (BINANCE_COIN, 5), (R.BYBIT_RISK_LIMITS, 2)):
        reading = read_brackets(reply)
        assert (reading.checked, reading.worst) == (brackets, 0)


def test_worked_example_of_coin_margined_brackets() -> None:
    """Binance FAQ ceccfcfb...: BTCUSD level 5 = 50 x (5 % - 2.5 %) + 0.56 = 1.81 BTC."""
    reply = copy.deepcopy(BINANCE_COIN)
    for row in reply[0]["brackets"]:
        del row["cum"]
    (table,) = read_brackets(reply).tables
    assert table.deductions()[3:] == [Decimal("0.56"), Decimal("1.81")]
    assert table.maintenance(Decimal(100)) == 100 * Decimal("0.05") - Decimal("1.81")


@pytest.mark.parametrize("name", ["binance", "binance-coin", "bybit"])
def test_marginal_maintenance_is_the_sum_of_slices(name: str) -> None:
    (table,) = read_brackets(SHAPES[name]).tables
    assert table.scheme == "marginal"
    last = table.brackets[-1].cap
    assert last is not None
    sizes = [bracket.floor for bracket in table.brackets] + [last / 3, last / 2, last]
    for size in sizes:
        assert table.maintenance(size) == slices(size, table)


def test_tier_picked_at_the_wrong_notional() -> None:
    """A size on a floor belongs to the bracket below, here and in the rate component alike."""
    (table,) = read_brackets(R.OKX_TIERS).tables
    assert table.scheme == "whole"
    assert table.maintenance(Decimal(500)) == 500 * Decimal("0.004")
    assert table.maintenance(Decimal(501)) == 501 * Decimal("0.005")


@pytest.mark.parametrize("name", ["binance", "ccxt", "kraken", "bitmex", "bybit", "okx"])
def test_parameters_run_in_a_rule_set(name: str, tmp_path: Path) -> None:
    """What the rate component computes from the file is what the table says."""
    reading = read_brackets(SHAPES[name])
    tables, notes = choose_brackets(reading, [])
    prices = {"BTC": Decimal(60_000)}
    sizes = {"BTC-USDT-SWAP": Decimal("0.01")}
    text = parameters_toml(
        reading, tables, source="x", prices=prices, contract_sizes=sizes, notes=notes
    )
    path = tmp_path / "params.toml"
    path.write_text(text, encoding="utf-8")
    rules = load_ruleset("isolated", overrides=parse_overrides([], str(path)))
    (component,) = [c for c in rules.data.components if isinstance(c, RateMargin)]
    assert component.scheme == tables[0].scheme and component.use_leverage
    for table in tables:
        per = {"contracts": Decimal(600), "BTC": Decimal(60_000)}.get(table.unit, Decimal(1))
        tiers = component.tiers[table.key]
        for bracket in table.brackets[:6]:
            size = bracket.floor + 7
            _, mm = tier_margin([float(size * per)], tiers, marginal=table.scheme == "marginal")  # type: ignore[arg-type]
            assert float(mm[0]) == pytest.approx(float(table.maintenance(size) * per), rel=1e-12)
        _, im, _, _, cum = tier_rates(tiers)
        assert im.tolist() == [float(b.im) for b in table.brackets]
        if table.scheme == "marginal":
            ours = [float(d * per) for d in table.deductions()]
            assert cum.tolist() == pytest.approx(ours, rel=1e-12)


def test_stated_leverage_makes_the_initial_margin_the_venues(tmp_path: Path) -> None:
    """IM = notional / leverage on the whole notional, although brackets are marginal."""
    files = {"params.toml": "", "account.json": "", "market.json": ""}
    reading = read_brackets(BINANCE)
    files["params.toml"] = parameters_toml(reading, reading.tables, source="x")
    files["account.json"] = msgspec.json.encode(
        {
            "format": "crossmargin-account/1",
            "account": "a",
            "balances": [{"asset": "USDT", "amount": 90_000}],
            "positions": [
                {
                    "instrument": "BTC_USDT-PERPETUAL",
                    "quantity": 10,
                    "entry_price": 60_000,
                    "leverage": 20,
                }
            ],
        }
    ).decode()
    files["market.json"] = msgspec.json.encode(
        {
            "format": "crossmargin-market/1",
            "as_of": AS_OF,
            "source": "made up",
            "assets": [
                {"asset": "BTC", "price_usd": 60_000.0},
                {"asset": "USDT", "price_usd": 1.0},
            ],
            "instruments": [{"instrument": "BTC_USDT-PERPETUAL", "price_mark": 60_000.0}],
        }
    ).decode()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    out = tmp_path / "statement.json"
    import contextlib
    import io

    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        code = main(
            [
                "margin",
                str(tmp_path / "account.json"),
                "--market",
                str(tmp_path / "market.json"),
                "--ruleset",
                "isolated",
                "--params",
                str(tmp_path / "params.toml"),
                "--json",
            ]
        )
    assert code == 0
    out.write_text(stream.getvalue(), encoding="utf-8")
    totals = msgspec.json.decode(out.read_bytes())["totals"]
    assert totals["im"] == pytest.approx(600_000 / 20, rel=1e-12)
    assert totals["mm"] == pytest.approx(600_000 * 0.01 - 1_300, rel=1e-12)


def test_risk_limit_steps_of_the_published_example() -> None:
    (table,) = read_brackets(BITMEX).tables
    first = [(b.cap, b.mm, b.im) for b in table.brackets[:4]]
    assert first == [
        (200, Decimal("0.005"), Decimal("0.010")),
        (350, Decimal("0.010"), Decimal("0.015")),
        (500, Decimal("0.015"), Decimal("0.020")),
        (650, Decimal("0.020"), Decimal("0.025")),
    ]
    assert table.maintenance(Decimal(180)) == Decimal("0.90")
    assert any("quanto" in note for note in read_brackets(BITMEX).notes)


def test_percent_and_fractions_are_told_apart() -> None:
    percent = copy.deepcopy(R.BYBIT_RISK_LIMITS)
    for row in percent["result"]["list"]:
        row["maintenanceMargin"] = str(Decimal(row["maintenanceMargin"]) * 100)
        row["initialMargin"] = str(Decimal(row["initialMargin"]) * 100)
    assert read_brackets(percent).tables == read_brackets(R.BYBIT_RISK_LIMITS).tables
    percent["result"]["list"][0]["initialMargin"] = "7"
    with pytest.raises(InputError) as caught:
        read_brackets(percent)
    assert caught.value.code == "INP-064"


def test_coins_and_contracts_need_a_price() -> None:
    for reply, hint in ((BINANCE_COIN, "--price BTC="), (R.OKX_TIERS, "--contract-size")):
        reading = read_brackets(reply)
        with pytest.raises(InputError) as caught:
            parameters_toml(reading, reading.tables, source="x")
        assert caught.value.code == "INP-065" and hint in str(caught.value)
    reading = read_brackets(BINANCE_COIN)
    text = parameters_toml(reading, reading.tables, source="x", prices={"BTC": Decimal(60_000)})
    tiers = tomllib.loads(text)["components"]["futures"]["tiers"]["BTC"]
    assert [tier["floor"] for tier in tiers] == [0, 600_000, 1_200_000, 1_800_000, 3_000_000]


def test_a_dated_futures_table_does_not_displace_the_perpetuals() -> None:
    dated = copy.deepcopy(BINANCE[0]) | {"symbol": "BTCUSDT_260327"}
    for row in dated["brackets"]:
        row["initialLeverage"] = 10
    reading = read_brackets([dated, *BINANCE])
    chosen, notes = choose_brackets(reading, [])
    assert [table.symbol for table in chosen] == ["BTCUSDT"]
    assert len(notes) == 1 and "BTCUSDT_260327 is left out" in notes[0]
    chosen, _ = choose_brackets(reading, ["BTCUSDT_260327"])
    assert [table.symbol for table in chosen] == ["BTCUSDT_260327"]
    with pytest.raises(InputError) as caught:
        choose_brackets(reading, ["NOPE"])
    assert caught.value.code == "INP-064"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("notionalFloor", 60_000),
        ("notionalCap", 240_000),
        ("maintMarginRatio", 0.02),
        ("maintMarginRatio", -0.01),
        ("initialLeverage", 0),
        ("initialLeverage", None),
    ],
)
def test_brackets_that_cannot_be_ones_are_refused(field: str, value: Any) -> None:
    reply = copy.deepcopy(BINANCE)
    reply[0]["brackets"][1][field] = value
    with pytest.raises(InputError) as caught:
        read_brackets(reply)
    assert caught.value.code == "INP-064" and caught.value.instrument == "BTCUSDT"


def test_names_that_cannot_be_printed_break_no_sentence() -> None:
    reply = copy.deepcopy(CCXT)
    reply["BTC/USDT:USDT"][0]["currency"] = "USDT\n"
    with pytest.raises(InputError) as caught:
        read_brackets(reply)
    assert caught.value.code == "INP-003" and str(caught.value).isprintable()
    reading = read_brackets({"ETH/USDT:USDT\n": CCXT["BTC/USDT:USDT"], **CCXT})
    assert len(reading.tables) == 1 and reading.notes[0].isprintable()


def test_a_wrong_published_deduction_is_shown() -> None:
    reply = copy.deepcopy(BINANCE)
    reply[0]["brackets"][2]["cum"] = 1_301.0
    assert read_brackets(reply).worst == 1


def test_unknown_replies_and_venue_errors_are_refused() -> None:
    for reply in ({}, [], None, 1, [[]], {"data": []}, {"result": {"list": []}}):
        with pytest.raises(InputError) as caught:
            read_brackets(reply)
        assert caught.value.code == "INP-060"
    with pytest.raises(InputError) as caught:
        read_brackets({"code": -2014, "msg": "API-key format invalid."})
    assert caught.value.code == "INP-032"
    with pytest.raises(InputError) as caught:
        read_brackets(BINANCE, venue="mtgox")
    assert caught.value.code == "INP-060"
    with pytest.raises(InputError) as caught:
        read_brackets(BINANCE, venue="okx")
    assert caught.value.code == "INP-060"


def test_command_writes_prints_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import gzip

    source = tmp_path / "tiers.json.gz"
    source.write_bytes(gzip.compress(msgspec.json.encode(BINANCE)))
    out = tmp_path / "params.toml"
    assert main(["brackets", str(source), "--out", str(out)]) == 0
    assert "4 published ones compared with ours, largest difference 0" in capsys.readouterr().out
    assert main(["brackets", str(source)]) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")
    assert main(["brackets", str(source), "--symbol", "BTC_USDT", "--json"]) == 0
    shown = msgspec.json.decode(capsys.readouterr().out)
    assert shown["deductions_compared"] == 4 and shown["worst_difference"] == "0"
    assert [row["deduction"] for row in shown["tables"][0]["brackets"]] == [0, 50, 1300, 16300]
    assert main(["brackets", str(source), "--component", "futures and more"]) == 0
    assert '[components."futures and more"]' in capsys.readouterr().out
    (tmp_path / "cut.json.gz").write_bytes(source.read_bytes()[:40])
    assert main(["brackets", str(tmp_path / "cut.json.gz")]) == 2
    assert capsys.readouterr().err.startswith("INP-002: ")
    assert main(["brackets", str(source), "--symbol", "NOPE"]) == 2
    assert capsys.readouterr().err.startswith("INP-064: ")


def test_readings_are_of_their_venue() -> None:
    for name, reply in SHAPES.items():
        reading: BracketReading = read_brackets(reply)
        assert reading.venue == name.split("-")[0]
        assert reading.tables
