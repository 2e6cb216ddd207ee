"""Market readers on recorded data: chains of the first quarter of 2026, tickers of July 2021.

The recordings live outside the repository; ``CROSSMARGIN_DATA`` names their folder.
"""

from __future__ import annotations

import gzip
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from crossmargin.instruments import Option, Registry, parse_instrument
from crossmargin.market import MarketFile, decode_market, snapshot_from_file
from crossmargin.pricing import black76_inverse
from crossmargin.units import parse_time, year_fraction
from crossmargin.venues import (
    SnapshotReport,
    market_file,
    snapshot_from_book_summary,
    snapshot_from_recorded_chain,
    snapshot_moments,
)
from crossmargin.venues._demo import DEMOS, Demo, demo_market, demo_report
from crossmargin.venues.recorded import FUTURES_FILE, OPTIONS_FILE, PERPS_FILE

TICKERS = Path("api_fixtures") / "cryptofeed" / "DERIBIT.ws.1.0.txt.gz"


@pytest.fixture(scope="module")
def folder() -> Path:
    name = os.environ.get("CROSSMARGIN_DATA")
    if not name:
        pytest.skip("CROSSMARGIN_DATA is not set: recorded snapshots are not tested")
    if not (Path(name) / OPTIONS_FILE).exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {OPTIONS_FILE}: recorded snapshots are not tested")
    return Path(name)


def read(folder: Path, moment: int | str, **options: Any) -> SnapshotReport:
    return snapshot_from_recorded_chain(
        folder / OPTIONS_FILE,
        moment,
        perps_path=folder / PERPS_FILE,
        futures_path=folder / FUTURES_FILE,
        **options,
    )


def test_snapshots_over_the_whole_quarter(folder: Path) -> None:
    moments = snapshot_moments(folder / OPTIONS_FILE)
    assert len(moments) == 359
    for moment in moments[::33]:
        report = read(folder, moment)
        market = report.snapshot
        assert market.as_of_ns == moment
        assert report.dropped == ()
        assert report.notes == ()
        assert [str(one) for one in report.violations] == []
        assert len(report.fits) == len(market.surfaces) >= 20
        assert {"BTC-PERPETUAL", "ETH-PERPETUAL"} <= set(market.quotes)
        assert set(market.surfaces) <= set(market.forwards)
        # A few hours before expiry, with wings that bend, five parameters are too few.
        errors = [one.rmse_vol_points_10_90_delta or 0.0 for one in report.fits]
        assert max(errors) < 4.0
        assert np.median(errors) < 0.5


def test_every_quote_can_be_viewed(folder: Path) -> None:
    market = read(folder, DEMOS[1].moment, fit=False).snapshot
    registry = Registry([parse_instrument(name) for name in market.quotes])
    view = market.view(registry)
    assert np.all(np.isfinite(view.price))
    option = np.isfinite(registry.terms.strike)
    assert np.all(view.vol[option] > 0.2)
    assert np.all(view.years[option] > 0.0)


def test_the_snapshot_of_the_fall(folder: Path) -> None:
    report = read(folder, "2026-02-05T21:29:37Z")
    market = report.snapshot
    assert market.as_of_ns == parse_time("2026-02-05T21:29:37.885165Z")
    assert len(market.quotes) == 1_840 + 14 + 2  # options, dated futures, perpetuals
    assert market.asset_usd("BTC") == pytest.approx(63_858.345)
    assert market.asset_usd("ETH") == pytest.approx(1_873.93)
    assert market.quotes["BTC-PERPETUAL"].price_mark == 63_844.5
    march = parse_time("2026-03-27T08:00:00Z")
    assert market.forwards["BTC", march].price_usd == 63_971.95
    assert market.surfaces["BTC", march].atm_vol == pytest.approx(0.71, abs=0.02)
    # The index was polled while it moved by more than a per cent: the report says so.
    spreads = {one.what: one.range_rel for one in report.spreads}
    assert spreads["ETH index"] == pytest.approx(0.0113, abs=1e-4)
    assert spreads["BTC index"] == pytest.approx(0.00445, abs=1e-4)


@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.name)
def test_regenerating_gives_the_shipped_market(folder: Path, demo: Demo) -> None:
    made = demo_market(folder, demo)
    resource = files("crossmargin._data").joinpath("markets", f"{demo.name}.json")
    shipped = decode_market(resource.read_bytes(), demo.name)
    assert without_fits(made) == without_fits(shipped)
    # The last digits of a least-squares fit depend on the processor; the smile does not.
    ours, theirs = snapshot_from_file(made), snapshot_from_file(shipped)
    for key, smile in ours.surfaces.items():
        other = theirs.surfaces[key]
        k = np.linspace(smile.k_min, smile.k_max, 41)
        strike = smile.forward_usd * np.exp(k)
        assert (smile.k_min, smile.k_max) == (other.k_min, other.k_max)
        np.testing.assert_allclose(smile.vol(strike), other.vol(strike), atol=1e-4, rtol=0)


def without_fits(data: MarketFile) -> MarketFile:
    fitted = ("a", "b", "rho", "m", "sigma", "rmse_vol_points_10_90_delta")
    bare = [msgspec.structs.replace(one, **dict.fromkeys(fitted, 0.0)) for one in data.surfaces]
    return msgspec.structs.replace(data, surfaces=bare)


def test_all_quotes_survive_a_market_file(folder: Path) -> None:
    report = demo_report(folder, DEMOS[0].moment)
    whole = snapshot_from_file(market_file(report, keep_quotes=True))
    assert whole.content_hash == report.snapshot.content_hash


def test_tickers_of_2021_as_summaries(folder: Path) -> None:
    """Tickers carry the summary's fields, three of them under other names."""
    path = folder / TICKERS
    if not path.exists():
        pytest.skip(f"CROSSMARGIN_DATA has no {TICKERS.name}")
    rows = {}
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        message = json.loads(line.partition(": ")[2]) if line[:1].isdigit() else {}
        if message.get("params", {}).get("channel", "").startswith("ticker."):
            data = message["params"]["data"]
            rows[data["instrument_name"]] = data | {
                "creation_timestamp": data["timestamp"],
                "bid_price": data["best_bid_price"],
                "ask_price": data["best_ask_price"],
            }
    assert len(rows) == 10
    report = snapshot_from_book_summary({"jsonrpc": "2.0", "result": list(rows.values())})
    market = report.snapshot
    assert report.dropped == ()
    assert len(market.quotes) == 10
    assert market.asset_usd("BTC") == pytest.approx(32_205.0, abs=10.0)
    assert market.quotes["ETH-27AUG21-4000-P"].bid is None  # written as 0.0 where there is none
    for name, quote in market.quotes.items():
        option = parse_instrument(name)
        assert isinstance(option, Option)
        forward = market.forwards[option.underlying, option.expiry_ns].price_usd
        years = year_fraction(quote.time_ns, option.expiry_ns)
        model = black76_inverse(forward, option.strike, years, quote.vol, option.is_call)
        assert quote.price_mark == pytest.approx(float(np.asarray(model)), abs=5e-5)
