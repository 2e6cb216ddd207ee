"""Risk-array files: our own JSON and CSV, and the arrays of SPAN XML (``.spn``) files.

Our JSON, ``crossmargin-risk-array/1``, is written down in ``docs/models/span.md``. Of a SPAN XML
file the contracts, their arrays and the links to combined commodities are read; its spread tables
are not, and the result says so.
"""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from crossmargin.codec import decode_json, read_bytes
from crossmargin.errors import InputError
from crossmargin.margin.components import (
    Calendar,
    CreditSpread,
    DeliveryRule,
    ExpiryTier,
    TierSpread,
)
from crossmargin.margin.risk_arrays import SCENARIOS, ArrayCommodity, ArrayContract, RiskArrays

Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
NonNegative = Annotated[float, Meta(ge=0)]
Kind = Literal["physical", "future", "option"]
Sign = Literal["loss", "profit"]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class SpreadLine(_Data, frozen=True, kw_only=True):
    """A line of a priority table: tiers from 1, and the charge per unit of delta in currency."""

    first: Annotated[int, Meta(ge=1)]
    second: Annotated[int, Meta(ge=1)]
    charge: NonNegative


class DeliveryLine(_Data, frozen=True, kw_only=True):
    """Charge per unit of net delta in expiries less than `days` ahead, in currency."""

    days: Annotated[float, Meta(gt=0)]
    charge: NonNegative


class CommodityEntry(_Data, frozen=True, kw_only=True):
    """A combined commodity."""

    code: Annotated[str, Meta(min_length=1)]
    currency: Annotated[str, Meta(min_length=1)]
    tiers: list[ExpiryTier] = []
    spreads: list[SpreadLine] = []
    delivery: DeliveryLine | None = None
    short_option_minimum: NonNegative = 0.0


class ContractEntry(_Data, frozen=True, kw_only=True):
    """A contract with its array."""

    id: Annotated[str, Meta(min_length=1)]
    commodity: str
    kind: Kind
    array: Annotated[list[float], Meta(min_length=SCENARIOS, max_length=SCENARIOS)]
    delta: float
    price: float = 0.0
    multiplier: Annotated[float, Meta(gt=0)] = 1.0
    expiry: Day | None = None


class RiskArrayFile(_Data, frozen=True, kw_only=True):
    """The JSON file.

    Attributes
    ----------
    sign : {"loss", "profit"}
        What a positive number of an array is, for one long contract. CME's files: ``loss``.
    """

    format: Literal["crossmargin-risk-array/1"]
    as_of: Day
    source: str
    sign: Sign
    commodities: Annotated[list[CommodityEntry], Meta(min_length=1)]
    contracts: Annotated[list[ContractEntry], Meta(min_length=1)]
    credits: list[CreditSpread] = []


def _day(text: str, what: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{what}: {text!r} is not a date", code="INP-003") from None


def _losses(array: list[float], sign: Sign) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.array(array, dtype=np.float64)
    return values if sign == "loss" else -values


def _collect(
    contracts: list[ArrayContract], commodities: dict[str, ArrayCommodity], what: str
) -> dict[str, ArrayContract]:
    found: dict[str, ArrayContract] = {}
    for contract in contracts:
        if contract.id in found:
            raise InputError(
                f"{what} lists {contract.id!r} twice", code="INP-003", instrument=contract.id
            )
        if contract.commodity not in commodities:
            raise InputError(
                f"{what}: {contract.id!r} belongs to {contract.commodity!r}, which is not listed",
                code="INP-003",
                instrument=contract.id,
                field="commodity",
            )
        found[contract.id] = contract
    return found


def _days_ahead(expiry: str | None, today: date, what: str) -> float:
    if expiry is None:
        return 0.0
    days = (_day(expiry, what) - today).days
    if days < 0:
        raise InputError(f"{what}: a contract expired on {expiry}", code="INP-003", field="expiry")
    return float(days)


def decode_risk_arrays(raw: bytes, what: str = "risk-array file") -> RiskArrays:
    """Read ``crossmargin-risk-array/1``.

    Raises
    ------
    InputError
        ``INP-002`` not JSON, ``INP-003`` of a wrong shape or with contradictions.
    """
    data = decode_json(raw, RiskArrayFile, what=what)
    today = _day(data.as_of, what)
    commodities: dict[str, ArrayCommodity] = {}
    for entry in data.commodities:
        if entry.code in commodities:
            raise InputError(f"{what} lists commodity {entry.code!r} twice", code="INP-003")
        commodities[entry.code] = _commodity(entry, what)
    contracts = [
        ArrayContract(
            id=c.id,
            commodity=c.commodity,
            kind=c.kind,
            days=_days_ahead(c.expiry, today, what),
            price=c.price,
            multiplier=c.multiplier,
            delta=c.delta,
            loss=_losses(c.array, data.sign),
        )
        for c in data.contracts
    ]
    for spread in data.credits:
        for leg in spread.legs:
            if leg.group not in commodities:
                raise InputError(
                    f"{what}: a credit names {leg.group!r}, which is not listed", code="INP-003"
                )
    return RiskArrays(
        as_of=data.as_of,
        source=data.source,
        commodities=commodities,
        contracts=_collect(contracts, commodities, what),
        credits=tuple(data.credits),
    )


def _commodity(entry: CommodityEntry, what: str) -> ArrayCommodity:
    calendar = None
    if entry.spreads:
        if any(max(s.first, s.second) > len(entry.tiers) for s in entry.spreads):
            raise InputError(
                f"{what}: a spread of {entry.code!r} names a tier that is not there", code="INP-003"
            )
        lines = [TierSpread(first=s.first, second=s.second, usd=s.charge) for s in entry.spreads]
        calendar = Calendar(tiers=entry.tiers, spreads=lines)
    delivery = None
    if entry.delivery is not None:
        delivery = DeliveryRule(days=entry.delivery.days, usd=entry.delivery.charge)
    return ArrayCommodity(
        code=entry.code,
        currency=entry.currency,
        calendar=calendar,
        delivery=delivery,
        short_option_minimum=entry.short_option_minimum,
    )


_KINDS: dict[str, Kind] = {"physical": "physical", "future": "future", "option": "option"}
_COLUMNS = ("id", "commodity", "kind", "expiry", "price", "multiplier", "delta")


def decode_risk_array_csv(
    raw: bytes, *, as_of: str, sign: Sign, currency: str = "USD", what: str = "risk-array table"
) -> RiskArrays:
    """Read a table of arrays: id, commodity, kind, expiry, price, multiplier, delta, s1 to s16.

    Parameters
    ----------
    raw : bytes
        CSV with a header, UTF-8.
    as_of : str
        Date from which days to expiry count.
    sign : {"loss", "profit"}
        What a positive number is, for one long contract.
    currency : str
        Of all losses and prices.

    Raises
    ------
    InputError
        ``INP-003`` a column is missing or a cell is no number.
    """
    try:
        text = raw.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{what} is not a CSV table in UTF-8", code="INP-002") from None
    columns = [*_COLUMNS, *(f"s{k}" for k in range(1, SCENARIOS + 1))]
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise InputError(
            f"{what} has no column {missing[0]!r}" if rows else f"{what} has no rows",
            code="INP-003",
            hint=f"the columns are {', '.join(columns)}",
        )
    today = _day(as_of, what)
    contracts = []
    for number, row in enumerate(rows, start=2):
        kind = _KINDS.get((row["kind"] or "").strip())
        if kind is None:
            raise InputError(
                f"{what}, line {number}: {row['kind']!r} is not a kind",
                code="INP-003",
                field="kind",
                hint="physical, future or option",
            )
        array = [_cell(row, f"s{k}", number, what) for k in range(1, SCENARIOS + 1)]
        contracts.append(
            ArrayContract(
                id=(row["id"] or "").strip(),
                commodity=(row["commodity"] or "").strip(),
                kind=kind,
                days=_days_ahead((row["expiry"] or "").strip() or None, today, what),
                price=_cell(row, "price", number, what),
                multiplier=_cell(row, "multiplier", number, what),
                delta=_cell(row, "delta", number, what),
                loss=_losses(array, sign),
            )
        )
    commodities = {
        c.commodity: ArrayCommodity(code=c.commodity, currency=currency) for c in contracts
    }
    return RiskArrays(
        as_of=as_of,
        source=what,
        commodities=commodities,
        contracts=_collect(contracts, commodities, what),
        not_read=("a table has no spread charges, credits or minimum",),
    )


def _cell(row: dict[str, str], name: str, number: int, what: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{what}, line {number}: {row[name]!r} is not a number", code="INP-003", field=name
        )
    return value


def load_risk_arrays(path: str | Path) -> RiskArrays:
    """Read a file: ``.spn`` and ``.xml`` as SPAN XML, everything else as our JSON.

    Raises
    ------
    InputError
        ``INP-005`` it cannot be read; else as the decoder.
    """
    what = f"risk-array file {str(path)!r}"
    raw = read_bytes(path, what="risk-array file")
    if Path(path).suffix.lower() in (".spn", ".xml"):
        return decode_span_xml(raw, what)
    return decode_risk_arrays(raw, what)


# ---- SPAN XML -----------------------------------------------------------------------------

#: Portfolio elements, the type a link calls them by, and what they hold.
_FAMILIES: dict[str, tuple[str, Kind]] = {
    "phyPf": ("PHY", "physical"),
    "futPf": ("FUT", "future"),
    "oopPf": ("OOP", "option"),
    "oofPf": ("OOF", "option"),
    "ooePf": ("OOE", "option"),
}


def decode_span_xml(raw: bytes, what: str = "SPAN file") -> RiskArrays:
    """Read contracts and risk arrays of a SPAN XML file.

    Elements: ``spanFile/pointInTime/date``; ``clearingOrg/ccDef`` with its ``pfLink`` (which
    product families make a combined commodity); ``exchange`` with ``phyPf``, ``futPf``, ``oopPf``,
    ``oofPf``, ``ooePf``; of each contract ``pe``, ``p``, ``cvf``, ``setlDate``, and ``ra`` with
    sixteen ``a`` (losses of one long contract, > 0 a loss) and ``d`` (composite delta); of options
    ``series/opt`` with ``o`` and ``k``. Ids are ``CODE-PERIOD`` and ``CODE-PERIOD-STRIKE-C``.

    Sources: element names from a public reader of the format (Shaftesbury.Span.XMLParser); the
    sign from CME, "Risk Arrays". Spread, tier, delivery and minimum tables are left out.

    Raises
    ------
    InputError
        ``INP-002`` not XML, ``INP-003`` not a SPAN file.
    """
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise InputError(
            f"{what} declares a document type, which no SPAN file does", code="INP-003"
        )
    try:
        root = ET.fromstring(raw)
    except (ET.ParseError, ValueError, LookupError):
        raise InputError(f"{what} is not complete XML", code="INP-002") from None
    point = root.find("pointInTime")
    if root.tag != "spanFile" or point is None:
        raise InputError(
            f"{what} is no SPAN file: it has no pointInTime", code="INP-003", field="spanFile"
        )
    as_of = _span_day(_text(point, "date", what), what)
    commodities: dict[str, ArrayCommodity] = {}
    contracts: list[ArrayContract] = []
    for org in point.findall("clearingOrg"):
        home: dict[tuple[str, str, str], str] = {}
        for cc in org.findall("ccDef"):
            code = _text(cc, "cc", what)
            commodities[code] = ArrayCommodity(
                code=code, currency=cc.findtext("currency", "USD").strip()
            )
            for link in cc.findall("pfLink"):
                key = tuple(link.findtext(n, "").strip() for n in ("exch", "pfType", "pfId"))
                home[key[0], key[1], key[2]] = code
        for exchange in org.findall("exchange"):
            exch = exchange.findtext("exch", "").strip()
            for tag, (family, kind) in _FAMILIES.items():
                for pf in exchange.findall(tag):
                    place = home.get((exch, family, pf.findtext("pfId", "").strip()))
                    if place is not None:
                        contracts += _family(pf, kind, place, date.fromisoformat(as_of), what)
    if not contracts:
        raise InputError(f"{what} has no contract with a risk array", code="INP-003")
    return RiskArrays(
        as_of=as_of,
        source=what,
        commodities=commodities,
        contracts=_collect(contracts, commodities, what),
        not_read=("intra- and inter-commodity spreads", "delivery charges", "short option minimum"),
    )


def _text(node: ET.Element, name: str, what: str) -> str:
    text = (node.findtext(name) or "").strip()
    if not text:
        raise InputError(f"{what}: a {node.tag} has no {name}", code="INP-003", field=name)
    return text


def _number(node: ET.Element, name: str, what: str, default: float | None = None) -> float:
    text = (node.findtext(name) or "").strip()
    if not text and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{what}: {name} of a {node.tag} is {text!r}, not a number", code="INP-003", field=name
        )
    return value


def _span_day(text: str, what: str) -> str:
    """Turn ``YYYYMMDD`` (or ``YYYYMM``: its last listed day is not known, the first is taken)."""
    if not text.isascii() or not text.isdigit() or len(text) not in (6, 8):
        raise InputError(f"{what}: {text!r} is not a date", code="INP-003", field="date")
    full = text if len(text) == 8 else text + "01"
    return _day(f"{full[:4]}-{full[4:6]}-{full[6:]}", what).isoformat()


def _family(
    pf: ET.Element, kind: Kind, commodity: str, today: date, what: str
) -> list[ArrayContract]:
    code = _text(pf, "pfCode", what)
    multiplier = _number(pf, "cvf", what, 1.0)
    out = []
    for node in [*pf.findall("phy"), *pf.findall("fut")]:
        period = (node.findtext("pe") or "").strip()
        name = f"{code}-{period}" if period else code
        out += _contract(node, name, kind, commodity, _ahead(node, today, what), multiplier, what)
    for series in pf.findall("series"):
        days = _ahead(series, today, what)
        own = _number(series, "cvf", what, multiplier)
        for opt in series.findall("opt"):
            strike = _number(opt, "k", what)
            right = _text(opt, "o", what).upper()[:1]
            name = f"{code}-{_text(series, 'pe', what)}-{strike:g}-{right}"
            out += _contract(opt, name, kind, commodity, days, own, what)
    return out


def _ahead(node: ET.Element, today: date, what: str) -> float:
    text = (node.findtext("setlDate") or node.findtext("pe") or "").strip()
    if not text or set(text) == {"0"}:
        return 0.0
    return float(max(0, (date.fromisoformat(_span_day(text, what)) - today).days))


def _contract(
    node: ET.Element,
    name: str,
    kind: Kind,
    commodity: str,
    days: float,
    multiplier: float,
    what: str,
) -> list[ArrayContract]:
    """Return the contract, or nothing where it has no array."""
    arrays = node.findall("ra")
    if not arrays:
        return []
    chosen = next((a for a in arrays if (a.findtext("r") or "").strip() == "1"), arrays[0])
    values = [a.text or "" for a in chosen.findall("a")]
    try:
        loss = np.array([float(v) for v in values], dtype=np.float64)
    except ValueError:
        raise InputError(
            f"{what}: the risk array of {name!r} has a cell that is no number",
            code="INP-003",
            instrument=name,
        ) from None
    return [
        ArrayContract(
            id=name,
            commodity=commodity,
            kind=kind,
            days=days,
            price=_number(node, "p", what, 0.0),
            multiplier=_number(node, "cvf", what, multiplier),
            delta=_number(chosen, "d", what),
            loss=loss,
        )
    ]
