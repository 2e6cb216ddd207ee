"""From checked rows to a snapshot with its report, and from there to a market file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context

import msgspec
import numpy as np

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Future, expiry_of
from crossmargin.market import (
    SETTLEMENT_WINDOW_NS,
    AssetPrice,
    Forward,
    MarketFile,
    Snapshot,
    file_from_snapshot,
)
from crossmargin.market.files import AssetEntry, InstrumentEntry, SurfaceEntry
from crossmargin.market.svi import MAX_WING_SLOPE
from crossmargin.units import parse_time
from crossmargin.venues._report import SnapshotReport, Spread
from crossmargin.venues._rows import Cleaned, Kept
from crossmargin.venues._surfaces import (
    Chain,
    Fitted,
    Key,
    chains_of,
    fit_chains,
    forward_spreads,
)

_SIGNIFICANT = 10


def given_prices(prices: Mapping[str, float], as_of_ns: int) -> dict[str, AssetPrice]:
    """Turn prices handed in by the caller into asset prices.

    Raises
    ------
    MarketDataError
        ``MKT-009`` when one is not positive and finite.
    """
    for asset, price in prices.items():
        if not (math.isfinite(price) and price > 0.0):
            raise MarketDataError(
                f"the price given for {asset} is {price!r}, not a positive price",
                code="MKT-009",
                field=f"index_price.{asset}",
                hint="leave it out if it is not known; missing is not zero",
            )
    return {
        asset: AssetPrice(price_usd=float(price), time_ns=as_of_ns, source="given by the caller")
        for asset, price in prices.items()
    }


def build_report(
    cleaned: Cleaned,
    *,
    as_of_ns: int,
    given: Mapping[str, AssetPrice],
    source: str,
    fit: bool = True,
) -> SnapshotReport:
    """Put a snapshot together from checked rows.

    Parameters
    ----------
    cleaned : Cleaned
        Rows that passed, and those that did not.
    as_of_ns : int
        The market's time.
    given : mapping of str to AssetPrice
        Prices known from elsewhere; they win over the rows' own index.
    source : str
        Named in the snapshot.
    fit : bool
        Whether to fit surfaces; without them the snapshot holds quotes and forwards only.
    """
    rows = list(cleaned.kept.values())
    notes: list[str] = []
    assets, spreads = _assets(rows, given, as_of_ns, source)
    usd = {"USD": 1.0} | {name: price.price_usd for name, price in assets.items()}
    notes += _missing_quotes(rows, usd)
    futures = _future_forwards(rows, usd)
    chains = chains_of(rows, futures, usd)
    forwards = futures | _option_forwards(chains, as_of_ns)
    fitted = fit_chains(chains, as_of_ns) if fit else Fitted()
    return SnapshotReport(
        snapshot=Snapshot(
            as_of_ns=as_of_ns,
            assets=assets,
            forwards=forwards,
            surfaces=fitted.surfaces,
            quotes={row.instrument.id: row.quote for row in rows},
            source=source,
        ),
        dropped=tuple(cleaned.dropped),
        fits=tuple(fitted.fits),
        violations=tuple(fitted.violations),
        spreads=(*spreads, *forward_spreads(chains)),
        notes=(*notes, *fitted.notes),
    )


def _assets(
    rows: list[Kept], given: Mapping[str, AssetPrice], as_of_ns: int, source: str
) -> tuple[dict[str, AssetPrice], list[Spread]]:
    """Take the median index per coin: from instruments quoted in US dollars where there are any.

    In its last half hour a contract states the settlement average instead of the index, so such
    rows do not count.
    """
    assets = dict(given)
    stated: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for row in rows:
        expiry = expiry_of(row.instrument)
        settling = expiry is not None and expiry - as_of_ns < SETTLEMENT_WINDOW_NS
        if row.index is not None and not settling:
            pair = (row.instrument.underlying, row.instrument.quote)
            stated.setdefault(pair, []).append((row.index, row.quote.time_ns))
    spreads = []
    for (asset, quote), values in sorted(stated.items(), key=lambda s: (s[0][1] != "USD", s[0])):
        prices = [price for price, _ in values]
        median = float(np.median(prices))
        name = f"{asset} index" if quote == "USD" else f"{asset} index in {quote}"
        if min(prices) < max(prices):
            spreads.append(Spread(what=name, low=min(prices), median=median, high=max(prices)))
        if asset in assets or (quote != "USD" and quote not in assets):
            continue
        rate = 1.0 if quote == "USD" else assets[quote].price_usd
        assets[asset] = AssetPrice(
            price_usd=median * rate,
            time_ns=max(time for _, time in values),
            source=f"median index price of {len(values)} instruments, {source}",
        )
    return assets, spreads


def _missing_quotes(rows: list[Kept], usd: Mapping[str, float]) -> list[str]:
    needed: dict[str, int] = {}
    for row in rows:
        for asset in {row.instrument.quote, row.instrument.settlement, row.instrument.underlying}:
            if asset not in usd:
                needed[asset] = needed.get(asset, 0) + 1
    return [
        f"{asset} has no price in US dollars, which {count} instruments need; pass it as "
        f"index_price"
        for asset, count in sorted(needed.items())
    ]


def _future_forwards(rows: list[Kept], usd: Mapping[str, float]) -> dict[Key, Forward]:
    """Take the marks of dated futures as forwards, those quoted in US dollars first."""
    forwards: dict[Key, Forward] = {}
    for row in sorted(rows, key=lambda r: r.instrument.quote != "USD"):
        future, mark = row.instrument, row.quote.price_mark
        if not isinstance(future, Future) or mark is None or future.quote not in usd:
            continue
        forwards.setdefault(
            (future.underlying, future.expiry_ns),
            Forward(
                price_usd=mark * usd[future.quote],
                time_ns=row.quote.time_ns,
                source=f"mark of {future.id}",
            ),
        )
    return forwards


def _option_forwards(chains: list[Chain], as_of_ns: int) -> dict[Key, Forward]:
    """Take the forward that options state, the one their volatilities belong to."""
    forwards: dict[Key, Forward] = {}
    for chain in chains:
        stated = [k for k in chain.options if k.forward is not None]
        if stated and chain.key not in forwards:
            forwards[chain.key] = Forward(
                price_usd=chain.forward * chain.usd_per_quote,
                time_ns=min(as_of_ns, max(k.quote.time_ns for k in stated)),
                source=f"median underlying price of {len(stated)} options",
            )
    return forwards


def market_file(report: SnapshotReport, *, keep_quotes: bool, description: str = "") -> MarketFile:
    """Write a report's snapshot as a market file.

    Parameters
    ----------
    report : SnapshotReport
        From a reader of this room.
    keep_quotes : bool
        True keeps every row as it was read. False keeps only what the surfaces and prices of
        the market need: asset prices, marks and funding of perpetuals, forwards and fitted SVI
        parameters, rounded (forwards to a cent from 100 USD up, all else to ten significant
        digits), so that no recorded option or future is passed on.
    description : str
        For people.
    """
    data = file_from_snapshot(report.snapshot, description=description)
    surfaces = [_with_error(report, entry) for entry in data.surfaces]
    if keep_quotes:
        return msgspec.structs.replace(data, surfaces=surfaces)
    replace = msgspec.structs.replace
    return replace(
        data,
        assets=[_rounded_asset(one) for one in data.assets],
        forwards=[
            replace(one, price_usd=_cents(one.price_usd), as_of=None, source="")
            for one in data.forwards
        ],
        surfaces=[_rounded(entry) for entry in surfaces],
        instruments=[
            replace(
                one,
                price_mark=None if one.price_mark is None else _round(one.price_mark),
                bid=None,
                ask=None,
            )
            for one in data.instruments
            if _is_perpetual(one)
        ],
    )


def _is_perpetual(entry: InstrumentEntry) -> bool:
    return entry.instrument.endswith("-PERPETUAL") or (
        ":" in entry.instrument and "-" not in entry.instrument
    )


def _with_error(report: SnapshotReport, entry: SurfaceEntry) -> SurfaceEntry:
    fitted = report.fitted.get((entry.underlying, parse_time(entry.expiry)))
    error = None if fitted is None else fitted.rmse_vol_points_10_90_delta
    return msgspec.structs.replace(
        entry, rmse_vol_points_10_90_delta=None if error is None else round(error, 4)
    )


def _rounded(entry: SurfaceEntry) -> SurfaceEntry:
    names = ("b", "rho", "m", "sigma", "k_min", "k_max")
    values = {name: _round(getattr(entry, name)) for name in names}
    # Rounding must not carry a wing over Lee's bound, nor the lowest total variance below zero.
    steepest = MAX_WING_SLOPE / (1.0 + abs(values["rho"]))
    if values["b"] > steepest:
        values["b"] = _round(steepest, ROUND_FLOOR)
    rho = values["rho"]
    lowest = -values["b"] * values["sigma"] * math.sqrt(max(0.0, 1.0 - rho * rho))
    level = _round(entry.a)
    if level < lowest:
        level = _round(lowest, ROUND_CEILING)
    return msgspec.structs.replace(entry, forward_usd=_cents(entry.forward_usd), a=level, **values)


def _rounded_asset(entry: AssetEntry) -> AssetEntry:
    price = None if entry.price_usd is None else _round(entry.price_usd)
    return msgspec.structs.replace(entry, price_usd=price)


def _round(value: float, rounding: str = ROUND_HALF_EVEN) -> float:
    context = Context(prec=_SIGNIFICANT, rounding=rounding)
    return float(context.create_decimal_from_float(value))


def _cents(price: float) -> float:
    return round(price, 2) if price >= 100.0 else _round(price)
