"""Deribit's book summaries: replies built by hand from the documentation's field list.

No reply here was recorded. Field names and meanings are those of docs.deribit.com,
public/get_book_summary_by_currency; the figures are made up.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from crossmargin.errors import InputError, MarketDataError
from crossmargin.instruments import Registry, parse_instrument
from crossmargin.market import SviSlice, read_market, snapshot_from_file, write_market
from crossmargin.market.fit import SviFit
from crossmargin.units import parse_time
from crossmargin.venues import (
    ExpiryFit,
    SnapshotReport,
    market_file,
    snapshot_from_book_summary,
)
from crossmargin.venues._surfaces import surface_violations

AS_OF = parse_time("2026-02-03T04:30:00Z")
STAMP = AS_OF // 1_000_000
MARCH = parse_time("2026-03-27T08:00:00Z")
JUNE = parse_time("2026-06-26T08:00:00Z")


def row(name: str, **fields: Any) -> dict[str, Any]:
    """One row of a reply; fields given as None are null there."""
    base = {
        "instrument_name": name,
        "base_currency": name.split("-")[0].split("_")[0],
        "quote_currency": "USD",
        "mark_price": 78_000.0,
        "bid_price": None,
        "ask_price": None,
        "mid_price": None,
        "open_interest": 10.0,
        "estimated_delivery_price": 78_000.0,
        "creation_timestamp": STAMP,
    }
    return base | fields


def option(name: str, iv: float | None = 50.0, **fields: Any) -> dict[str, Any]:
    fields = {"mark_price": 0.01, "underlying_price": 78_500.0} | fields
    return (
        row(
            name,
            mark_iv=iv,
            underlying_index="BTC-27MAR26",
            interest_rate=0.0,
            quote_currency="BTC",
        )
        | fields
    )


def chain(expiry: str = "27MAR26", level: float = 50.0, **fields: Any) -> list[dict[str, Any]]:
    """Nine strikes, puts and calls, with a mild smile."""
    rows = []
    for strike in range(60_000, 105_000, 5_000):
        iv = level + 40.0 * math.log(strike / 78_500.0) ** 2
        rows += [option(f"BTC-{expiry}-{strike}-{right}", iv, **fields) for right in "CP"]
    return rows


def envelope(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": rows, "usIn": 1, "usOut": 2, "testnet": False}


def read(*rows: dict[str, Any], **options: Any) -> SnapshotReport:
    return snapshot_from_book_summary(envelope(list(rows)), **({"as_of_ns": AS_OF} | options))


def test_perpetual_future_and_options_of_one_currency() -> None:
    perp = row(
        "BTC-PERPETUAL",
        mark_price=78_020.5,
        funding_8h=0.00012,
        current_funding=0.5,
        bid_price=78_020.0,
        ask_price=78_020.5,
    )
    future = row("BTC-26JUN26", mark_price=79_600.25)
    report = read(perp, future, *chain())
    market = report.snapshot
    assert report.dropped == ()
    assert market.quotes["BTC-PERPETUAL"].price_mark == 78_020.5
    assert market.quotes["BTC-PERPETUAL"].funding_rate_8h == 0.00012
    assert market.quotes["BTC-PERPETUAL"].bid == 78_020.0
    assert market.quotes["BTC-26JUN26"].funding_rate_8h is None
    assert market.forwards["BTC", JUNE].price_usd == 79_600.25
    assert market.forwards["BTC", MARCH].price_usd == 78_500.0
    assert market.asset_usd("BTC") == 78_000.0
    quote = market.quotes["BTC-27MAR26-60000-P"]
    assert quote.vol == pytest.approx(0.5 + 0.4 * math.log(60_000 / 78_500) ** 2, abs=1e-15)
    assert quote.price_mark == 0.01


def test_the_surface_is_fitted_and_its_errors_are_told() -> None:
    report = read(*chain(), *chain("26JUN26", 55.0))
    assert [(one.underlying, one.expiry_ns) for one in report.fits] == [
        ("BTC", MARCH),
        ("BTC", JUNE),
    ]
    assert report.violations == ()
    for one in report.fits:
        assert one.fit.n == 9
        assert one.rmse_vol_points_10_90_delta == pytest.approx(0.0, abs=0.05)
    smile = report.snapshot.surfaces["BTC", MARCH]
    assert smile.forward_usd == 78_500.0
    assert float(smile.vol(78_500.0)) == pytest.approx(0.5, abs=1e-3)


def test_envelopes_bare_lists_and_lists_of_both_are_the_same() -> None:
    perp, options = row("BTC-PERPETUAL"), chain()
    once = snapshot_from_book_summary([perp, *options], as_of_ns=AS_OF)
    twice = snapshot_from_book_summary([envelope([perp]), options], as_of_ns=AS_OF)
    assert once.snapshot == twice.snapshot
    assert once.snapshot.content_hash == twice.snapshot.content_hash


def test_the_newest_row_gives_the_time_when_none_is_given() -> None:
    old = row("BTC-PERPETUAL", creation_timestamp=STAMP - 1_500)
    report = snapshot_from_book_summary([old, row("BTC-26JUN26")])
    assert report.snapshot.as_of_ns == AS_OF
    assert report.snapshot.quotes["BTC-PERPETUAL"].time_ns == AS_OF - 1_500_000_000


@pytest.mark.parametrize(
    ("bad", "reason", "words"),
    [
        (option("BTC-2FEB26-80000-C"), "expired", "expired on 2026-02-02T08:00:00Z"),
        (option("BTC-27MAR26-80000-C", None), "missing_vol", "no mark volatility"),
        (option("BTC-27MAR26-80000-C", 0.0), "missing_vol", "no mark volatility"),
        (option("BTC-27MAR26-80000-C", -3.0), "not_positive", "volatility -0.03"),
        (option("BTC-27MAR26-80000-C", math.nan), "not_a_number", "nan"),
        (option("BTC-27MAR26-80000-C", 7e3), "vol_range", "7,000 %"),
        (option("BTC-27MAR26-80000-C", "50"), "not_a_number", "'50'"),
        (option("BTC-27MAR26-80000-C", mark_price=None), "missing_mark", "no mark price"),
        (option("BTC-27MAR26-80000-C", mark_price=-0.1), "not_positive", "-0.1"),
        (option("BTC-27MAR26-80000-C", underlying_price=0.0), "not_positive", "forward 0"),
        (row("BTC-26JUN26", mark_price=None), "missing_mark", "no mark price"),
        (row("BTC-26JUN26", mark_price=0.0), "not_positive", "mark price 0"),
        (row("BTC-26JUN26", mark_price=math.inf), "not_a_number", "inf"),
        (row("BTC-26JUN26", mark_price=True), "not_a_number", "True"),
        (row("BTC-26JUN26", creation_timestamp=STAMP + 1), "after_as_of", "after the market's"),
        (row("BTC-31FEB26"), "name", "does not exist"),
        (row("WHAT?"), "name", "no naming grammar"),
        (row("BTC-CS-27MAR26-70000_75000"), "combo", "combination"),
        (row("BTC-FS-27MAR26_PERP"), "combo", "combination"),
        (row("BTC_USDC-STRG-27MAR26-70000_75000"), "combo", "combination"),
        ({"mark_price": 1.0}, "name", "not an instrument name"),
    ],
)
def test_every_reason_to_leave_a_row_out(bad: dict[str, Any], reason: str, words: str) -> None:
    report = read(row("BTC-PERPETUAL"), bad)
    assert [(one.reason, one.row) for one in report.dropped] == [(reason, True)]
    assert words in report.dropped[0].sentence
    assert report.dropped[0].instrument in report.dropped[0].sentence
    assert set(report.snapshot.quotes) == {"BTC-PERPETUAL"}
    assert report.dropped_by_reason() == {reason: 1}


def test_a_row_that_is_no_row_is_left_out_too() -> None:
    report = read(row("BTC-PERPETUAL"), "BTC-26JUN26", None)  # type: ignore[arg-type]
    assert [one.reason for one in report.dropped] == ["name", "name"]


def test_the_first_of_two_rows_counts() -> None:
    report = read(row("BTC-PERPETUAL"), row("BTC-PERPETUAL", mark_price=1.0))
    assert report.dropped_by_reason() == {"duplicate": 1}
    assert report.snapshot.quotes["BTC-PERPETUAL"].price_mark == 78_000.0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bid_price": 0.02, "ask_price": 0.01}, "crossed"),
        ({"bid_price": -0.02, "ask_price": 0.01}, "not_positive"),
        ({"bid_price": 0.01, "ask_price": math.nan}, "not_a_number"),
    ],
)
def test_bad_quotes_are_dropped_and_the_mark_is_kept(fields: dict[str, Any], reason: str) -> None:
    report = read(option("BTC-27MAR26-80000-C", **fields))
    assert [(one.reason, one.row) for one in report.dropped] == [(reason, False)]
    assert "the mark was kept" in report.dropped[0].sentence
    quote = report.snapshot.quotes["BTC-27MAR26-80000-C"]
    assert (quote.bid, quote.ask, quote.price_mark) == (None, None, 0.01)


def test_no_quote_is_missing_and_not_zero() -> None:
    report = read(option("BTC-27MAR26-80000-C", bid_price=0.0, ask_price=None, mark_price=0.0))
    quote = report.snapshot.quotes["BTC-27MAR26-80000-C"]
    assert (quote.bid, quote.ask) == (None, None)
    assert quote.price_mark == 0.0  # a far option is marked below its smallest step
    assert report.dropped == ()


def test_bad_funding_and_bad_index_are_told_and_left_out() -> None:
    report = read(
        row("BTC-PERPETUAL", funding_8h=math.nan, estimated_delivery_price=-1.0),
        row("BTC-26JUN26"),
    )
    assert sorted((one.reason, one.row) for one in report.dropped) == [
        ("not_a_number", False),
        ("not_positive", False),
    ]
    assert report.snapshot.quotes["BTC-PERPETUAL"].funding_rate_8h is None
    assert report.snapshot.asset_usd("BTC") == 78_000.0


def test_negative_funding_is_kept() -> None:
    report = read(row("BTC-PERPETUAL", funding_8h=-0.0003))
    assert report.snapshot.quotes["BTC-PERPETUAL"].funding_rate_8h == -0.0003


def test_the_index_is_the_median_and_its_spread_is_told() -> None:
    report = read(
        row("BTC-PERPETUAL", estimated_delivery_price=78_000.0),
        row("BTC-26JUN26", estimated_delivery_price=78_010.0),
        row("BTC-25SEP26", estimated_delivery_price=78_100.0),
    )
    assert report.snapshot.asset_usd("BTC") == 78_010.0
    (spread,) = report.spreads
    assert (spread.what, spread.low, spread.high) == ("BTC index", 78_000.0, 78_100.0)
    assert spread.range_rel == pytest.approx(100.0 / 78_010.0)


def test_in_the_last_half_hour_the_settlement_average_is_no_index() -> None:
    moment = parse_time("2026-02-03T07:45:00Z")
    report = read(
        row("BTC-3FEB26", estimated_delivery_price=77_000.0),
        row("BTC-PERPETUAL"),
        as_of_ns=moment,
    )
    assert report.snapshot.assets["BTC"].price_usd == 78_000.0


def test_a_given_index_wins() -> None:
    report = read(row("BTC-PERPETUAL"), index_price={"BTC": 77_500.0})
    assert report.snapshot.asset_usd("BTC") == 77_500.0
    assert report.snapshot.assets["BTC"].source == "given by the caller"
    with pytest.raises(MarketDataError, match="price given for USDC"):
        read(row("BTC-PERPETUAL"), index_price={"USDC": 0.0})


def linear_rows() -> list[dict[str, Any]]:
    perp = row("SOL_USDC-PERPETUAL", mark_price=200.0, estimated_delivery_price=201.0)
    options = [
        option(
            f"SOL_USDC-27MAR26-{strike}-{right}",
            80.0,
            mark_price=5.0,
            underlying_price=202.0,
            estimated_delivery_price=201.0,
        )
        for strike in (150, 175, 200, 225, 250, 275)
        for right in "CP"
    ]
    return [perp, *options]


def test_linear_contracts_need_the_stablecoins_price() -> None:
    report = read(*linear_rows(), index_price={"USDC": 0.5})
    market = report.snapshot
    assert market.asset_usd("SOL") == pytest.approx(100.5)
    assert market.forwards["SOL", MARCH].price_usd == pytest.approx(101.0)
    assert market.quotes["SOL_USDC-PERPETUAL"].price_mark == 200.0
    assert market.surfaces["SOL", MARCH].forward_usd == pytest.approx(101.0)
    assert report.fits[0].quote == "USDC"
    registry = Registry([parse_instrument("SOL_USDC-27MAR26-200-C")])
    assert market.view(registry).price[0] == pytest.approx(202.0)


def test_without_it_they_stay_missing_and_it_is_said() -> None:
    report = read(*linear_rows())
    assert "USDC" not in report.snapshot.assets
    assert "SOL" not in report.snapshot.assets
    assert report.snapshot.forwards == {}
    assert any(note.startswith("USDC has no price in US dollars") for note in report.notes)


def test_dollar_options_decide_where_linear_ones_are_listed_too() -> None:
    linear = [
        option(
            f"BTC_USDC-27MAR26-{strike}-{right}",
            90.0,
            mark_price=900.0,
            underlying_price=78_600.0,
            estimated_delivery_price=78_100.0,
        )
        for strike in range(60_000, 105_000, 5_000)
        for right in "CP"
    ]
    report = read(*linear, *chain(), index_price={"USDC": 0.999})
    assert report.snapshot.forwards["BTC", MARCH].price_usd == 78_500.0
    assert report.snapshot.asset_usd("BTC") == 78_000.0
    assert [one.quote for one in report.fits] == ["USD"]
    assert report.snapshot.quotes["BTC_USDC-27MAR26-60000-P"].vol == 0.9


def test_an_expiry_with_few_strikes_is_said_and_keeps_its_quotes() -> None:
    report = read(option("BTC-27MAR26-80000-C"), option("BTC-27MAR26-85000-C"))
    assert report.fits == ()
    assert "too few for a smile" in report.notes[0]
    assert report.snapshot.quotes["BTC-27MAR26-80000-C"].vol == 0.5


def test_options_without_a_forward_take_the_futures_mark() -> None:
    rows = [r | {"underlying_price": None} for r in chain()]
    report = read(row("BTC-27MAR26", mark_price=78_400.0), *rows)
    assert report.snapshot.forwards["BTC", MARCH].price_usd == 78_400.0
    assert report.snapshot.surfaces["BTC", MARCH].forward_usd == 78_400.0


def fitted(expiry_ns: int, years: float, variance: float, **svi: float) -> ExpiryFit:
    terms = {"b": 0.0, "rho": 0.0, "m": 0.0, "sigma": 0.1} | svi
    smile = SviSlice(a=variance, forward_usd=100.0, years=years, k_min=-0.5, k_max=0.5, **terms)
    errors = SviFit(
        slice=smile,
        rmse_vol=0.0,
        rmse_vol_10_90=None,
        max_error=0.0,
        n=9,
        n_10_90=0,
        min_g=1.0,
        converged=True,
    )
    return ExpiryFit(underlying="BTC", expiry_ns=expiry_ns, quote="USD", fit=errors)


def test_arbitrage_that_remains_is_listed() -> None:
    near, far = fitted(MARCH, 0.15, 0.04), fitted(JUNE, 0.4, 0.03)
    assert surface_violations([near]) == []
    (calendar,) = surface_violations([near, far])
    assert (calendar.record.kind, calendar.expiry_ns) == ("calendar", MARCH)
    assert calendar.record.amount == pytest.approx(0.01)
    assert str(calendar).startswith("BTC 2026-03-27T08:00:00Z calendar")
    sharp = fitted(MARCH, 0.15, 0.0001, b=0.4, sigma=0.001)
    kinds = {one.record.kind for one in surface_violations([sharp])}
    assert kinds == {"butterfly"}
    assert near.rmse_vol_points_10_90_delta is None


def test_replies_that_are_none() -> None:
    with pytest.raises(InputError, match="error 11050: bad_request") as caught:
        snapshot_from_book_summary({"error": {"code": 11050, "message": "bad_request"}})
    assert caught.value.code == "INP-032"
    for reply in ({"result": "no"}, "text", [3]):
        with pytest.raises(InputError) as caught:
            snapshot_from_book_summary(reply)  # type: ignore[arg-type]
        assert caught.value.code == "INP-031"
    with pytest.raises(InputError) as caught:
        snapshot_from_book_summary([])
    assert caught.value.code == "INP-033"


def test_market_file_with_and_without_quotes(tmp_path: Any) -> None:
    report = read(row("BTC-PERPETUAL", funding_8h=0.0001, bid_price=77_999.5), *chain())
    whole = market_file(report, keep_quotes=True)
    again = snapshot_from_file(whole)
    assert again.content_hash == report.snapshot.content_hash
    own = market_file(report, keep_quotes=False, description="made by hand")
    assert [one.instrument for one in own.instruments] == ["BTC-PERPETUAL"]
    assert own.instruments[0].bid is None
    assert own.instruments[0].funding_rate_8h == 0.0001
    assert own.surfaces[0].rmse_vol_points_10_90_delta == pytest.approx(0.0, abs=0.05)
    path = tmp_path / "market.json"
    path.write_bytes(write_market(own))
    market = read_market(path)
    registry = Registry([parse_instrument("BTC-27MAR26-70000-P")])
    vol = market.view(registry).vol[0]
    assert vol == pytest.approx(report.snapshot.view(registry).vol[0], abs=2e-3)
    assert ("BTC", MARCH) in market.forwards
