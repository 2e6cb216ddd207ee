"""Sources, time-weighted averages and bases in the market file, read and written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from crossmargin.errors import MarketDataError
from crossmargin.instruments import Instrument, parse_instrument
from crossmargin.market._confidence import confidence_figure, exact_confidence
from crossmargin.market.index import LEAST_PRICE, MOST_PRICE, LastGood, SourcePanel, SourcePrint
from crossmargin.market.mark import BasisTick, mark_from_basis
from crossmargin.market.policy import TrustPolicy
from crossmargin.market.snapshot import AssetPrice, InstrumentQuote, Snapshot
from crossmargin.market.trust import asset_from_index, panel_index
from crossmargin.units import format_time

if TYPE_CHECKING:
    from crossmargin.market.files import MarketFile

#: Reads a time of the file: text (or nothing, for the market's own) and the field's name.
Moment = Callable[[str | None, str], int]

#: Time of what cannot age: a dollar is a dollar.
_NEVER_OLD = 2**62

#: A stated price may differ from the computed one by this much, relative: the digits of a file.
_SAME = 1e-9


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refuses unknown fields."""


class SourceEntry(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """The last print of one source of an index; `as_of` defaults to the market's.

    `secondary` sources are asked only when the others are too few; `deviation_usd` is the
    half-width of the source's own confidence interval; `depth_usd_1pct` the notional that moves
    it by 1 %.
    """

    name: str
    price_usd: float
    as_of: str | None = None
    secondary: bool = False
    stale_after_s: Annotated[float, Meta(gt=0)] | None = None
    deviation_usd: Annotated[float, Meta(ge=0)] | None = None
    depth_usd_1pct: Annotated[float, Meta(gt=0)] | None = None


class LastGoodEntry(_Strict, frozen=True, kw_only=True):
    """The last index that was trusted."""

    price_usd: float
    as_of: str


class BasisEntry(_Strict, frozen=True, kw_only=True):
    """One observation of a contract's basis: price / index − 1."""

    as_of: str
    basis: Annotated[float, Meta(gt=-1, lt=1)]


def positive(value: float, what: str, field: str) -> float:
    """Return a price, or refuse what cannot be one (``MKT-009``)."""
    if not (math.isfinite(value) and value > 0):
        raise MarketDataError(
            f"{what} is {value!r}, not a positive price",
            code="MKT-009",
            field=field,
            hint="remove the entry if the price is missing; missing is not zero",
        )
    if not LEAST_PRICE <= value <= MOST_PRICE:
        raise MarketDataError(
            f"{what} is {value!r}, beyond any possible price",
            code="MKT-009",
            field=field,
            hint="check the unit: US dollars or quote currency per coin",
        )
    return value


def once(known: bool, what: str, field: str) -> None:
    """Refuse an entry that is there already (``MKT-011``)."""
    if known:
        raise MarketDataError(f"{what} appears twice", code="MKT-011", field=field)


def read_panel(
    sources: Sequence[SourceEntry],
    last_good: LastGoodEntry | None,
    twap_usd: float | None,
    moment: Moment,
    field: str,
) -> SourcePanel:
    """Turn an asset's sources into a panel.

    Raises
    ------
    MarketDataError
        ``MKT-009`` impossible price, ``MKT-011`` dated after the market.
    InputError
        ``INP-010`` bad time.
    """
    prints = []
    for row, one in enumerate(sources):
        where = f"{field}.sources[{row}]"
        prints.append(
            SourcePrint(
                name=one.name,
                price_usd=positive(one.price_usd, f"the price of source {one.name}", where),
                time_ns=moment(one.as_of, f"{where}.as_of"),
                secondary=one.secondary,
                stale_after_s=one.stale_after_s,
                deviation_usd=one.deviation_usd,
                depth_usd_1pct=one.depth_usd_1pct,
            )
        )
    good = None
    if last_good is not None:
        where = f"{field}.last_good"
        good = LastGood(
            price_usd=positive(last_good.price_usd, "the last good index", where),
            time_ns=moment(last_good.as_of, f"{where}.as_of"),
        )
    average = None
    if twap_usd is not None:
        average = positive(twap_usd, "the time-weighted average", f"{field}.twap_usd")
    return SourcePanel(prints=tuple(prints), last_good=good, twap_usd=average)


def check_stated(stated: float | None, computed: float, what: str, field: str) -> None:
    """Refuse a stated price that is not what its sources give.

    Raises
    ------
    MarketDataError
        ``MKT-012``.
    """
    if stated is None or abs(stated - computed) <= _SAME * computed:
        return
    raise MarketDataError(
        f"{what} is stated as {stated!r}, and its sources give {computed!r}",
        code="MKT-012",
        field=field,
        hint="leave the stated price out where sources are given",
    )


def read_basis(entries: Sequence[BasisEntry], moment: Moment, field: str) -> tuple[BasisTick, ...]:
    """Turn a contract's basis history into ticks.

    Raises
    ------
    MarketDataError
        ``MKT-011`` dated after the market, ``MKT-013`` out of order.
    """
    ticks = tuple(
        BasisTick(time_ns=moment(one.as_of, f"{field}.basis[{row}].as_of"), basis=one.basis)
        for row, one in enumerate(entries)
    )
    for row, (first, second) in enumerate(pairwise(ticks), start=1):
        if second.time_ns < first.time_ns:
            raise MarketDataError(
                "the times of a basis do not rise",
                code="MKT-013",
                field=f"{field}.basis[{row}].as_of",
                hint="sort the observations by time",
            )
    return ticks


def basis_mark(index: float, ticks: Sequence[BasisTick], at_ns: int, policy: TrustPolicy) -> float:
    """Return the mark that a contract's basis history and its index give."""
    made = mark_from_basis(index, ticks, at_ns, tau_s=policy.basis_tau_s, clamp=policy.basis_max)
    return made.price


def source_entries(panel: SourcePanel, as_of_ns: int) -> list[SourceEntry]:
    """Write a panel's sources back, in their order."""
    return [
        SourceEntry(
            name=p.name,
            price_usd=p.price_usd,
            as_of=None if p.time_ns == as_of_ns else format_time(p.time_ns),
            secondary=p.secondary,
            stale_after_s=p.stale_after_s,
            deviation_usd=p.deviation_usd,
            depth_usd_1pct=p.depth_usd_1pct,
        )
        for p in panel.prints
    ]


def last_good_entry(panel: SourcePanel) -> LastGoodEntry | None:
    """Write a panel's last good index back."""
    good = panel.last_good
    if good is None:
        return None
    return LastGoodEntry(price_usd=good.price_usd, as_of=format_time(good.time_ns))


def basis_entries(ticks: Sequence[BasisTick]) -> list[BasisEntry]:
    """Write a contract's basis history back."""
    return [BasisEntry(as_of=format_time(t.time_ns), basis=t.basis) for t in ticks]


def read_assets(
    data: MarketFile, moment: Moment, as_of: int, policy: TrustPolicy
) -> tuple[dict[str, AssetPrice], dict[str, SourcePanel]]:
    """Read asset prices; where there are sources, form the index from them."""
    assets: dict[str, AssetPrice] = {}
    panels: dict[str, SourcePanel] = {}
    for row, entry in enumerate(data.assets):
        field, name = f"assets[{row}]", entry.asset
        once(name in assets, f"asset {name}", field)
        sources = [] if entry.sources is UNSET else entry.sources
        good = None if entry.last_good is UNSET else entry.last_good
        average = None if entry.twap_usd is UNSET else entry.twap_usd
        if good is not None and not sources:
            raise MarketDataError(
                f"{name} has a last good index and no sources",
                code="MKT-012",
                field=f"{field}.last_good",
                hint="add its sources, or remove it",
            )
        if sources or average is not None:
            panels[name] = read_panel(sources, good, average, moment, field)
        if sources:
            found = panel_index(name, panels[name], as_of, policy)
            check_stated(
                entry.price_usd, found.price_usd, f"the price of {name}", f"{field}.price_usd"
            )
            if entry.as_of is not None or entry.confidence != 1.0:
                raise MarketDataError(
                    f"{name} has sources, and its time and confidence follow from them",
                    code="MKT-012",
                    field=field,
                    hint="remove as_of and confidence where sources are given",
                )
            assets[name] = asset_from_index(found, entry.source)
            continue
        if entry.price_usd is None:
            raise MarketDataError(
                f"{name} has neither a price nor sources",
                code="MKT-001",
                field=field,
                hint="add price_usd or sources, or remove the entry; missing is not zero",
            )
        assets[name] = AssetPrice(
            price_usd=positive(entry.price_usd, f"the price of {name}", field),
            time_ns=moment(entry.as_of, f"{field}.as_of"),
            source=entry.source or data.source,
            confidence=exact_confidence(entry.confidence, f"{field}.confidence"),
        )
    return assets, panels


def with_basis_marks(
    quotes: dict[str, InstrumentQuote],
    basis: dict[str, tuple[BasisTick, ...]],
    assets: dict[str, AssetPrice],
    as_of: int,
    policy: TrustPolicy,
    data: MarketFile,
) -> dict[str, InstrumentQuote]:
    """Give every instrument with a history of its basis the mark that follows from it."""
    out = dict(quotes)
    rows = {parse_instrument(e.instrument).id: r for r, e in enumerate(data.instruments)}
    for name, ticks in basis.items():
        field, item = f"instruments[{rows[name]}]", parse_instrument(name)
        coin, money = (_usd(assets, x, item, field) for x in (item.underlying, item.quote))
        index = coin.price_usd / money.price_usd
        mark = basis_mark(index, ticks, as_of, policy)
        check_stated(quotes[name].price_mark, mark, f"the mark of {name}", f"{field}.price_mark")
        time_ns = min(coin.time_ns, money.time_ns)
        out[name] = replace(quotes[name], price_mark=mark, time_ns=time_ns)
    return out


def _usd(assets: dict[str, AssetPrice], name: str, item: Instrument, field: str) -> AssetPrice:
    if name in assets:
        return assets[name]
    if name == "USD":
        return AssetPrice(price_usd=1.0, time_ns=_NEVER_OLD)
    raise MarketDataError(
        f"the mark of {item.id} follows from its index, and the market has no price for {name}",
        code="MKT-001",
        instrument=item.id,
        field=field,
        hint=f"add {name} to the market's assets",
    )


def asset_fields(
    snapshot: Snapshot, name: str, quote: AssetPrice, as_of: str | None, source: str
) -> dict[str, Any]:
    """Return an asset's entry: an index with its sources, anything else with its own price."""
    panel = None if snapshot.trust is None else snapshot.trust.panels.get(name)
    formed = panel is not None and bool(panel.prints)
    good = None if panel is None else last_good_entry(panel)
    average = None if panel is None else panel.twap_usd
    return {
        "asset": name,
        "price_usd": quote.price_usd,
        "as_of": None if formed else as_of,
        "source": source,
        "confidence": 1.0 if formed else confidence_figure(quote.confidence),
        "sources": source_entries(panel, snapshot.as_of_ns) if panel and formed else UNSET,
        "last_good": UNSET if good is None else good,
        "twap_usd": UNSET if average is None else average,
    }
