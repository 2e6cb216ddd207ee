"""The market file: one snapshot as JSON, ``crossmargin-market/1``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError, MarketDataError
from crossmargin.instruments import parse_instrument
from crossmargin.market import _trust_files as trusting
from crossmargin.market._confidence import confidence_figure, exact_confidence
from crossmargin.market._history_file import HistoryEntry, read_history, write_history
from crossmargin.market._liquidity_file import (
    DepthEntry,
    LiquidityEntry,
    read_depth,
    read_liquidity,
    write_depth,
    write_liquidity,
)
from crossmargin.market._trust_files import BasisEntry, LastGoodEntry, Moment, SourceEntry
from crossmargin.market.mark import BasisTick
from crossmargin.market.policy import (
    TrustEntry,
    entry_from_policy,
    policy_from_entry,
)
from crossmargin.market.snapshot import (
    Forward,
    InstrumentQuote,
    Snapshot,
)
from crossmargin.market.svi import SviSlice
from crossmargin.market.trust import PriceTrust
from crossmargin.units import NS_PER_YEAR, format_time, parse_time, year_fraction

MARKET_FORMAT = "crossmargin-market/1"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields."""


#: A number from 0 to 1, or a decimal in a string to keep every digit.
ConfidenceFigure = Annotated[float, Meta(ge=0, le=1)] | str


class AssetEntry(_Strict, frozen=True, kw_only=True):
    """Price of a coin or stablecoin in US dollars; `as_of` defaults to the market's.

    With `sources` the price is the index formed from them; a `price_usd` beside them must be
    that index. `last_good` is the last index that was trusted, `twap_usd` its time-weighted
    average.
    """

    asset: str
    price_usd: float | None = None
    as_of: str | None = None
    source: str = ""
    confidence: ConfidenceFigure = 1.0
    sources: Annotated[list[SourceEntry], Meta(min_length=1)] | UnsetType = UNSET
    last_good: LastGoodEntry | UnsetType = UNSET
    twap_usd: float | UnsetType = UNSET


class ForwardEntry(_Strict, frozen=True, kw_only=True):
    """Forward of an underlying at an expiry.

    `settlement_average_usd` is the average of the index so far, inside the settlement window.
    `parts_usd` are the settled and the moving part of the forward where the venue's own feed
    states them; `price_usd` is then their sum. `rate` is the interest rate to the expiry.
    """

    underlying: str
    expiry: str
    price_usd: float
    settlement_average_usd: float | None = None
    parts_usd: tuple[float, float] | None = None
    rate: float | None = None
    confidence: ConfidenceFigure = 1.0
    rate_confidence: ConfidenceFigure = 1.0
    vol_confidence: ConfidenceFigure = 1.0
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
    """What the market says of one instrument.

    With `basis`, a history of price / index − 1, the mark is the index and the smoothed basis; a
    `price_mark` beside it must be that mark.
    """

    instrument: str
    price_mark: float | None = None
    vol: float | None = None
    funding_rate_8h: float | None = None
    bid: float | None = None
    ask: float | None = None
    as_of: str | None = None
    source: str = ""
    confidence: ConfidenceFigure = 1.0
    basis: Annotated[list[BasisEntry], Meta(min_length=1)] | UnsetType = UNSET


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
    liquidity: list[LiquidityEntry] = []
    depth: list[DepthEntry] = []
    trust: TrustEntry | UnsetType = UNSET
    history: HistoryEntry | UnsetType = UNSET

    @property
    def judged(self) -> bool:
        """Whether the file says how far its prices may be trusted."""
        return (
            self.trust is not UNSET
            or any(a.sources is not UNSET or a.twap_usd is not UNSET for a in self.assets)
            or any(i.basis is not UNSET for i in self.instruments)
        )


def _finite(value: float | None, what: str, field: str) -> float | None:
    if value is not None and not (math.isfinite(value) and abs(value) < 100):
        raise MarketDataError(
            f"{what} is {value!r}; a decimal per year is needed", code="MKT-009", field=field
        )
    return value


def _parts(parts: tuple[float, float] | None, what: str, field: str) -> tuple[float, float] | None:
    if parts is not None and not (
        all(math.isfinite(part) and part >= 0 for part in parts) and sum(parts) > 0
    ):
        raise MarketDataError(
            f"the parts of {what} are {parts}, not two amounts of at least 0 with a positive sum",
            code="MKT-009",
            field=field,
        )
    return parts


def snapshot_from_file(data: MarketFile) -> Snapshot:
    """Check a decoded market file and turn it into a snapshot.

    Raises
    ------
    MarketDataError
        ``MKT-001`` an asset without price, ``MKT-009`` impossible price, ``MKT-010`` crossed
        market, ``MKT-011`` an entry twice or from the future, ``MKT-012`` a stated price that is
        not what its sources give, ``MKT-013`` a basis out of order,
        ``MKT-041`` impossible liquidity or depth.
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

    policy = policy_from_entry(None if data.trust is UNSET else data.trust)
    assets, panels = trusting.read_assets(data, moment, as_of, policy)
    quotes, basis = _quotes(data, moment)
    quotes = trusting.with_basis_marks(quotes, basis, assets, as_of, policy, data)
    forwards: dict[tuple[str, int], Forward] = {}
    for row, item in enumerate(data.forwards):
        field = f"forwards[{row}]"
        key = (item.underlying, parse_time(item.expiry, field=f"{field}.expiry"))
        trusting.once(key in forwards, f"forward of {item.underlying} for {item.expiry}", field)
        what = f"the forward of {item.underlying} for {item.expiry}"
        average = item.settlement_average_usd
        forwards[key] = Forward(
            price_usd=trusting.positive(item.price_usd, what, field),
            average_usd=None if average is None else trusting.positive(average, what, field),
            parts_usd=_parts(item.parts_usd, what, f"{field}.parts_usd"),
            rate=_finite(item.rate, f"the rate to {item.expiry}", f"{field}.rate"),
            confidence=exact_confidence(item.confidence, f"{field}.confidence"),
            rate_confidence=exact_confidence(item.rate_confidence, f"{field}.rate_confidence"),
            vol_confidence=exact_confidence(item.vol_confidence, f"{field}.vol_confidence"),
            time_ns=moment(item.as_of, f"{field}.as_of"),
            source=item.source or data.source,
        )
    surfaces = {}
    for row, smile in enumerate(data.surfaces):
        field = f"surfaces[{row}]"
        expiry = parse_time(smile.expiry, field=f"{field}.expiry")
        fitted = moment(smile.fitted_at, f"{field}.fitted_at")
        trusting.once((smile.underlying, expiry) in surfaces, f"surface for {smile.expiry}", field)
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
        quotes=quotes,
        settlements={
            (s.underlying, parse_time(s.expiry, field="settlements")): trusting.positive(
                s.price_usd, f"the settlement price of {s.underlying}", "settlements"
            )
            for s in data.settlements
        },
        liquidity=read_liquidity(data.liquidity, moment, data.source),
        depth=read_depth(data.depth, moment, data.source),
        source=data.source,
        stale_after_s=data.stale_after_s,
        trust=PriceTrust(policy=policy, panels=panels, basis=basis) if data.judged else None,
        history=None if data.history is UNSET else read_history(data.history, as_of),
    )


def _quotes(
    data: MarketFile, moment: Moment
) -> tuple[dict[str, InstrumentQuote], dict[str, tuple[BasisTick, ...]]]:
    """Read quotes by instrument id, and the histories of basis beside them."""
    quotes: dict[str, InstrumentQuote] = {}
    basis: dict[str, tuple[BasisTick, ...]] = {}
    for row, entry in enumerate(data.instruments):
        field = f"instruments[{row}]"
        try:
            instrument = parse_instrument(entry.instrument)
        except InputError as error:
            raise error.located(field=field) from None
        trusting.once(instrument.id in quotes, instrument.id, field)
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
            trusting.positive(
                entry.price_mark, f"the mark of {instrument.id}", f"{field}.price_mark"
            )
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
            confidence=exact_confidence(entry.confidence, f"{field}.confidence"),
        )
        if entry.basis is not UNSET:
            if instrument.kind not in ("perpetual", "future"):
                raise MarketDataError(
                    f"{instrument.id} is no perpetual or future: it has no basis to smooth",
                    code="MKT-012",
                    instrument=instrument.id,
                    field=f"{field}.basis",
                )
            basis[instrument.id] = trusting.read_basis(entry.basis, moment, field)
    return quotes, basis


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

    basis = snapshot.trust.basis if snapshot.trust is not None else {}
    return MarketFile(
        format="crossmargin-market/1",
        as_of=format_time(snapshot.as_of_ns),
        source=snapshot.source,
        description=description,
        stale_after_s=snapshot.stale_after_s,
        assets=[
            AssetEntry(
                **trusting.asset_fields(
                    snapshot, name, quote, stamp(quote.time_ns), named(quote.source)
                )
            )
            for name, quote in sorted(snapshot.assets.items())
        ],
        forwards=[
            ForwardEntry(
                underlying=name,
                expiry=format_time(expiry),
                price_usd=forward.price_usd,
                settlement_average_usd=forward.average_usd,
                parts_usd=forward.parts_usd,
                rate=forward.rate,
                confidence=confidence_figure(forward.confidence),
                rate_confidence=confidence_figure(forward.rate_confidence),
                vol_confidence=confidence_figure(forward.vol_confidence),
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
                as_of=None if name in basis else stamp(q.time_ns),
                source=named(q.source),
                confidence=confidence_figure(q.confidence),
                basis=trusting.basis_entries(basis[name]) if name in basis else UNSET,
            )
            for name, q in sorted(snapshot.quotes.items())
        ],
        settlements=[
            SettlementEntry(underlying=name, expiry=format_time(expiry), price_usd=price)
            for (name, expiry), price in sorted(snapshot.settlements.items())
        ],
        liquidity=write_liquidity(snapshot.liquidity, stamp, named),
        depth=write_depth(snapshot.depth, stamp, named),
        trust=UNSET if snapshot.trust is None else entry_from_policy(snapshot.trust.policy),
        history=UNSET if snapshot.history is None else write_history(snapshot.history),
    )


def _fitted_at(snapshot: Snapshot, expiry_ns: int, smile: SviSlice) -> str | None:
    """Moment a slice's variance counts from, where it is not the market's own."""
    moment = round(expiry_ns - smile.years * NS_PER_YEAR)
    return None if abs(moment - snapshot.as_of_ns) < 1_000 else format_time(moment)


_CONFIDENCES = ("confidence", "rate_confidence", "vol_confidence")


def write_market(data: MarketFile) -> bytes:
    """Encode a market file as indented JSON without default values, ending in a newline."""
    plain = msgspec.to_builtins(data)
    for table in ("liquidity", "depth"):
        if not plain[table]:
            del plain[table]
    for table in (name for name in plain if isinstance(plain[name], list)):
        plain[table] = [
            {
                key: value
                for key, value in row.items()
                if value is not None and value != "" and not (key in _CONFIDENCES and value == 1.0)
            }
            for row in plain[table]
        ]
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"
