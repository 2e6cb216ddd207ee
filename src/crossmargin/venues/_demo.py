"""The demo markets that the package ships, made from recorded chains.

They hold this package's own fitted parameters and a few prices per coin, no recorded rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from crossmargin.errors import InputError
from crossmargin.market import (
    AssetPrice,
    Forward,
    InstrumentQuote,
    Liquidity,
    MarketFile,
    Snapshot,
    write_market,
)
from crossmargin.units import format_time, year_fraction
from crossmargin.venues._build import market_file
from crossmargin.venues._report import SnapshotReport
from crossmargin.venues.recorded import (
    FUTURES_FILE,
    OPTIONS_FILE,
    PERPS_FILE,
    snapshot_from_recorded_chain,
)

FUNDING_FILE = "binance_funding.parquet"
BARS_FILE = "binance_perp_1h.parquet"
#: Days behind the volume and the volatility of a demo market.
LIQUIDITY_DAYS = 30
#: Made up, as a fraction of the price: no order book was recorded at these moments.
ASSUMED_HALF_SPREAD = 0.0001
STABLECOIN = "USDC"
STABLECOIN_PRICE = AssetPrice(
    price_usd=1.0,
    time_ns=0,
    source="assumed at par: no recorded rate for this moment",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A demo market: its name, the moment it is looked for from, and what it shows."""

    name: str
    moment: str
    description: str


DEMOS = (
    Demo(
        name="calm-2026-02-03",
        moment="2026-02-03T04:00Z",
        description="BTC and ETH on 3 February 2026, two days before the fall",
    ),
    Demo(
        name="crash-2026-02-05",
        moment="2026-02-05T21:29:37Z",
        description="BTC and ETH in the fall of 5 February 2026",
    ),
)


def demo_report(folder: Path, moment: str) -> SnapshotReport:
    """Read one moment of the recordings, with funding, linear perpetuals, USDC and liquidity."""
    report = snapshot_from_recorded_chain(
        folder / OPTIONS_FILE,
        moment,
        perps_path=folder / PERPS_FILE,
        futures_path=folder / FUTURES_FILE,
    )
    snapshot = report.snapshot
    usdc = replace(STABLECOIN_PRICE, time_ns=snapshot.as_of_ns)
    quotes = dict(snapshot.quotes)
    for coin in ("BTC", "ETH"):
        inverse = f"{coin}-PERPETUAL"
        known = quotes[inverse]
        rate, when = _funding(folder / FUNDING_FILE, f"{coin}USDT", snapshot.as_of_ns)
        note = f"; funding: Binance {coin}USDT of {when}"
        quotes[inverse] = replace(known, funding_rate_8h=rate, source=known.source + note)
        quotes[f"{coin}_{STABLECOIN}-PERPETUAL"] = _linear(known, usdc, rate, note)
    assets = {**snapshot.assets, STABLECOIN: usdc}
    carried = replace(
        snapshot,
        quotes=quotes,
        assets=assets,
        forwards=_with_rates(snapshot),
        liquidity={c: _liquidity(folder / BARS_FILE, c, snapshot.as_of_ns) for c in ("BTC", "ETH")},
    )
    return replace(report, snapshot=carried)


def _with_rates(snapshot: Snapshot) -> dict[tuple[str, int], Forward]:
    """Give each forward the rate that carries the index to it, ``ln(F/S)/years``, to 1e-6.

    No recorded rate exists for these moments. Where less than a day is left the quotient says
    nothing, and the forward has no rate.
    """
    out = {}
    for (name, expiry), forward in snapshot.forwards.items():
        years = year_fraction(snapshot.as_of_ns, expiry)
        carry = math.log(forward.price_usd / snapshot.asset_usd(name))
        rate = round(carry / years, 6) if years * 365.0 >= 1.0 else None
        out[name, expiry] = replace(forward, rate=rate)
    return out


def _linear(
    inverse: InstrumentQuote, stablecoin: AssetPrice, rate: float, note: str
) -> InstrumentQuote:
    mark = inverse.price_mark
    return replace(
        inverse,
        price_mark=None if mark is None else mark / stablecoin.price_usd,
        funding_rate_8h=rate,
        source="derived from the inverse perpetual's candle" + note,
    )


def _funding(path: Path, symbol: str, as_of_ns: int) -> tuple[float, str]:
    """Return the last funding rate at or before a moment, to 1e-6, and when it was paid."""
    import polars as pl

    rows = (
        pl.scan_parquet(path)
        .select(pl.col("symbol").cast(pl.String), pl.col("date").dt.epoch("ns"), "funding_rate")
        .filter((pl.col("symbol") == symbol) & (pl.col("date") <= as_of_ns))
        .sort("date")
        .tail(1)
        .collect()
    )
    if rows.is_empty():
        raise InputError(
            f"{path.name!r} has no funding of {symbol} at or before {format_time(as_of_ns)}",
            code="INP-003",
            field="date",
        )
    _, date, rate = rows.row(0)
    return round(float(rate), 6), format_time(date)


def _liquidity(path: Path, coin: str, as_of_ns: int) -> Liquidity:
    """Sum up thirty whole days of one venue's perpetual: mean volume, spread of daily returns.

    Two significant digits: an order of size, not a recording. One venue is less than the market,
    so costs of size come out too high rather than too low. The half-spread is made up.

    Raises
    ------
    InputError
        ``INP-003`` where a day of the thirty is not whole.
    """
    import polars as pl

    symbol, day_ns = f"{coin}USDT", 86_400 * 10**9
    end = as_of_ns // day_ns * day_ns
    bars = (
        pl.scan_parquet(path)
        .select(pl.col("symbol").cast(pl.String), pl.col("date").dt.epoch("ns"), "close", "volume")
        .filter(
            (pl.col("symbol") == symbol)
            & (pl.col("date") < end)
            & (pl.col("date") >= end - (LIQUIDITY_DAYS + 1) * day_ns)
        )
        .sort("date")
        .collect()
    )
    if bars.height != (LIQUIDITY_DAYS + 1) * 24:
        raise InputError(
            f"{path.name!r} has {bars.height} hours of {symbol} before {format_time(end)}, "
            f"not {LIQUIDITY_DAYS + 1} whole days",
            code="INP-003",
            field="date",
        )
    closes = bars["close"].to_numpy()[23::24]
    returns = [math.log(b / a) for a, b in pairwise(closes.tolist())]
    volume = bars["volume"].to_numpy()[24:].sum() / LIQUIDITY_DAYS
    return Liquidity(
        adv_coins=_two_digits(volume),
        sigma_daily=_two_digits(math.sqrt(sum(r * r for r in returns) / LIQUIDITY_DAYS)),
        half_spread=ASSUMED_HALF_SPREAD,
        time_ns=end,
        source=(
            f"volume and volatility: {LIQUIDITY_DAYS} days of Binance's perpetual {symbol} before "
            f"{format_time(end)[:10]}, our own means, two digits; half-spread made up, none "
            "recorded"
        ),
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def demo_market(folder: Path, demo: Demo) -> MarketFile:
    """Make one demo market from the folder of recordings."""
    return market_file(
        demo_report(folder, demo.moment), keep_quotes=False, description=demo.description
    )


def write_demo_markets(folder: Path, out: Path) -> list[Path]:
    """Write every demo market as ``NAME.json`` and return the paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for demo in DEMOS:
        path = out / f"{demo.name}.json"
        path.write_bytes(write_market(demo_market(folder, demo)))
        paths.append(path)
    return paths
