"""The market file: one snapshot as JSON, ``crossmargin-market/1``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError, MarketDataError
from crossmargin.instruments import parse_instrument
from crossmargin.market.snapshot import (
    CONFIDENCE_ONE,
    AssetPrice,
    Forward,
    InstrumentQuote,
    Snapshot,
)
from crossmargin.market.svi import SviSlice
from crossmargin.units import NS_PER_YEAR, format_time, parse_time, year_fraction

MARKET_FORMAT = "crossmargin-market/1"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields."""


class AssetEntry(_Strict, frozen=True, kw_only=True):
    """Price of a coin or stablecoin in US dollars; `as_of` defaults to the market's."""

    asset: str
    price_usd: float
    as_of: str | None = None
    source: str = ""
    confidence: Annotated[float, Meta(ge=0, le=1)] = 1.0


class ForwardEntry(_Strict, frozen=True, kw_only=True):
    """Forward of an underlying at an expiry.

    `settlement_average_usd` is the average of the index so far, inside the settlement window.
    """

    underlying: str
    expiry: str
    price_usd: float
    settlement_average_usd: float | None = None
    as_of: str | None = None
    source: str = ""


class SurfaceEntry(_Strict, frozen=True, kw_only=True):
    """Raw SVI parameters of one expiry; `fitted_at` is the moment its variance counts from."""

    underlying: str
    expiry: str
    forward_usd: float
    a: float
    b: float
    rho: float
    m: float
    sigma: float
    k_min: float
    k_max: float
    fitted_at: str | None = None
    rmse_vol_points_10_90_delta: float | None = None


class InstrumentEntry(_Strict, frozen=True, kw_only=True):
    """What the market says of one instrument."""

    instrument: str
    price_mark: float | None = None
    vol: float | None = None
    funding_rate_8h: float | None = None
    bid: float | None = None
    ask: float | None = None
    as_of: str | None = None
    source: str = ""
    confidence: Annotated[float, Meta(ge=0, le=1)] = 1.0


class SettlementEntry(_Strict, frozen=True, kw_only=True):
    """Settlement price of an expiry that is past."""

    underlying: str
    expiry: str
    price_usd: float


class MarketFile(_Strict, frozen=True, kw_only=True):
    """One moment's market."""

    format: Literal["crossmargin-market/1"]
    as_of: str
    assets: list[AssetEntry]
    source: str = ""
    description: str = ""
    stale_after_s: Annotated[float, Meta(gt=0)] = 3_600.0
    forwards: list[ForwardEntry] = []
    surfaces: list[SurfaceEntry] = []
    instruments: list[InstrumentEntry] = []
    settlements: list[SettlementEntry] = []


def _positive(value: float, what: str, field: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise MarketDataError(
            f"{what} is {value!r}, not a positive price",
            code="MKT-009",
            field=field,
            hint="remove the entry if the price is missing; missing is not zero",
        )
    return value


def _exact(confidence: float) -> int:
    return round(confidence * CONFIDENCE_ONE)


def snapshot_from_file(data: MarketFile) -> Snapshot:
    """Check a decoded market file and turn it into a snapshot.

    Raises
    ------
    MarketDataError
        ``MKT-009`` impossible price, ``MKT-010`` crossed market, ``MKT-011`` an entry twice or
        from the future.
    InputError
        ``INP-001`` unknown instrument, ``INP-010`` bad time.
    """
    as_of = parse_time(data.as_of, field="as_of")

    def moment(text: str | None, field: str) -> int:
        if text is None:
            return as_of
        time = parse_time(text, field=field)
        if time > as_of:
            raise MarketDataError(
                f"{field} lies after the market's own time {format_time(as_of)}",
                code="MKT-011",
                field=field,
            )
        return time

    assets: dict[str, AssetPrice] = {}
    for row, entry in enumerate(data.assets):
        field = f"assets[{row}]"
        _once(entry.asset in assets, f"asset {entry.asset}", field)
        assets[entry.asset] = AssetPrice(
            price_usd=_positive(entry.price_usd, f"the price of {entry.asset}", field),
            time_ns=moment(entry.as_of, f"{field}.as_of"),
            source=entry.source or data.source,
            confidence=_exact(entry.confidence),
        )
    forwards: dict[tuple[str, int], Forward] = {}
    for row, item in enumerate(data.forwards):
        field = f"forwards[{row}]"
        key = (item.underlying, parse_time(item.expiry, field=f"{field}.expiry"))
        _once(key in forwards, f"forward of {item.underlying} for {item.expiry}", field)
        what = f"the forward of {item.underlying} for {item.expiry}"
        average = item.settlement_average_usd
        forwards[key] = Forward(
            price_usd=_positive(item.price_usd, what, field),
            average_usd=None if average is None else _positive(average, what, field),
            time_ns=moment(item.as_of, f"{field}.as_of"),
            source=item.source or data.source,
        )
    surfaces = {}
    for row, smile in enumerate(data.surfaces):
        field = f"surfaces[{row}]"
        expiry = parse_time(smile.expiry, field=f"{field}.expiry")
        fitted = moment(smile.fitted_at, f"{field}.fitted_at")
        _once((smile.underlying, expiry) in surfaces, f"surface for {smile.expiry}", field)
        try:
            surfaces[smile.underlying, expiry] = SviSlice(
                a=smile.a,
                b=smile.b,
                rho=smile.rho,
                m=smile.m,
                sigma=smile.sigma,
                forward_usd=smile.forward_usd,
                years=year_fraction(fitted, expiry),
                k_min=smile.k_min,
                k_max=smile.k_max,
            )
        except MarketDataError as error:
            error.field = f"{field}.{error.field}"
            raise
    return Snapshot(
        as_of_ns=as_of,
        assets=assets,
        forwards=forwards,
        surfaces=surfaces,
        quotes=_quotes(data, moment),
        settlements={
            (s.underlying, parse_time(s.expiry, field="settlements")): _positive(
                s.price_usd, f"the settlement price of {s.underlying}", "settlements"
            )
            for s in data.settlements
        },
        source=data.source,
        stale_after_s=data.stale_after_s,
    )


def _once(known: bool, what: str, field: str) -> None:
    if known:
        raise MarketDataError(f"{what} appears twice", code="MKT-011", field=field)


def _quotes(data: MarketFile, moment: Any) -> dict[str, InstrumentQuote]:
    quotes: dict[str, InstrumentQuote] = {}
    for row, entry in enumerate(data.instruments):
        field = f"instruments[{row}]"
        try:
            instrument = parse_instrument(entry.instrument)
        except InputError as error:
            raise error.located(field=field) from None
        _once(instrument.id in quotes, instrument.id, field)
        for name in ("price_mark", "bid", "ask"):
            value = getattr(entry, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise MarketDataError(
                    f"{name} of {instrument.id} is {value!r}, not a price",
                    code="MKT-009",
                    instrument=instrument.id,
                    field=f"{field}.{name}",
                )
        if instrument.kind != "option" and entry.price_mark is not None:
            _positive(entry.price_mark, f"the mark of {instrument.id}", f"{field}.price_mark")
        if entry.bid is not None and entry.ask is not None and entry.bid > entry.ask:
            raise MarketDataError(
                f"{instrument.id} is crossed: bid {entry.bid:g} above ask {entry.ask:g}",
                code="MKT-010",
                instrument=instrument.id,
                field=field,
                hint="remove both quotes, or refresh the market",
            )
        if entry.vol is not None and not (math.isfinite(entry.vol) and 0 < entry.vol < 20):
            raise MarketDataError(
                f"the volatility of {instrument.id} is {entry.vol!r}; a decimal between 0 and 20 "
                "is needed",
                code="MKT-009",
                instrument=instrument.id,
                field=f"{field}.vol",
                hint="write 0.65 for 65 %",
            )
        quotes[instrument.id] = InstrumentQuote(
            price_mark=entry.price_mark,
            vol=entry.vol,
            funding_rate_8h=entry.funding_rate_8h,
            bid=entry.bid,
            ask=entry.ask,
            time_ns=moment(entry.as_of, f"{field}.as_of"),
            source=entry.source or data.source,
            confidence=_exact(entry.confidence),
        )
    return quotes


def decode_market(raw: bytes, name: str) -> MarketFile:
    """Decode a market file without checking its prices.

    Raises
    ------
    InputError
        ``INP-002`` not whole JSON, ``INP-003`` wrong shape.
    """
    return decode_json(raw, MarketFile, what=f"market file {name!r}")


def read_market(path: str | Path) -> Snapshot:
    """Read a market file.

    Raises
    ------
    InputError, MarketDataError
        When it is missing, truncated, of another shape, or holds impossible prices.
    """
    raw = read_bytes(path, what="market file")
    return snapshot_from_file(decode_market(raw, str(path)))


def file_from_snapshot(snapshot: Snapshot, *, description: str = "") -> MarketFile:
    """Write a snapshot back as a market file, entries sorted."""

    def stamp(time_ns: int) -> str | None:
        return None if time_ns in (0, snapshot.as_of_ns) else format_time(time_ns)

    def named(source: str) -> str:
        return "" if source == snapshot.source else source

    return MarketFile(
        format="crossmargin-market/1",
        as_of=format_time(snapshot.as_of_ns),
        source=snapshot.source,
        description=description,
        stale_after_s=snapshot.stale_after_s,
        assets=[
            AssetEntry(
                asset=name,
                price_usd=quote.price_usd,
                as_of=stamp(quote.time_ns),
                source=named(quote.source),
                confidence=quote.confidence / CONFIDENCE_ONE,
            )
            for name, quote in sorted(snapshot.assets.items())
        ],
        forwards=[
            ForwardEntry(
                underlying=name,
                expiry=format_time(expiry),
                price_usd=forward.price_usd,
                settlement_average_usd=forward.average_usd,
                as_of=stamp(forward.time_ns),
                source=named(forward.source),
            )
            for (name, expiry), forward in sorted(snapshot.forwards.items())
        ],
        surfaces=[
            SurfaceEntry(
                underlying=name,
                expiry=format_time(expiry),
                forward_usd=s.forward_usd,
                a=s.a,
                b=s.b,
                rho=s.rho,
                m=s.m,
                sigma=s.sigma,
                k_min=s.k_min,
                k_max=s.k_max,
                fitted_at=_fitted_at(snapshot, expiry, s),
            )
            for (name, expiry), s in sorted(snapshot.surfaces.items())
        ],
        instruments=[
            InstrumentEntry(
                instrument=name,
                price_mark=q.price_mark,
                vol=q.vol,
                funding_rate_8h=q.funding_rate_8h,
                bid=q.bid,
                ask=q.ask,
                as_of=stamp(q.time_ns),
                source=named(q.source),
                confidence=q.confidence / CONFIDENCE_ONE,
            )
            for name, q in sorted(snapshot.quotes.items())
        ],
        settlements=[
            SettlementEntry(underlying=name, expiry=format_time(expiry), price_usd=price)
            for (name, expiry), price in sorted(snapshot.settlements.items())
        ],
    )


def _fitted_at(snapshot: Snapshot, expiry_ns: int, smile: SviSlice) -> str | None:
    """Moment a slice's variance counts from, where it is not the market's own."""
    moment = round(expiry_ns - smile.years * NS_PER_YEAR)
    return None if abs(moment - snapshot.as_of_ns) < 1_000 else format_time(moment)


def write_market(data: MarketFile) -> bytes:
    """Encode a market file as indented JSON without default values, ending in a newline."""
    plain = msgspec.to_builtins(data)
    for table in ("assets", "forwards", "surfaces", "instruments", "settlements"):
        plain[table] = [
            {
                key: value
                for key, value in row.items()
                if value is not None and value != "" and (key, value) != ("confidence", 1.0)
            }
            for row in plain[table]
        ]
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"
