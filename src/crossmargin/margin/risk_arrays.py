"""SPAN over published risk arrays: contracts with sixteen losses each, and positions in them.

Sign
----
As in CME's files: an array holds **losses as positive numbers of one long contract**, in the
contract's currency, with the scenario's weight already applied to the extreme moves. Text-book
tables often show profit instead; whoever builds :class:`ArrayContract` from one changes the sign.

Source
------
CME, "Risk Arrays" and "Components of SPAN"; steps of clearing-practice section 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError
from crossmargin.margin._span import (
    STANDARD_PAIRS,
    STANDARD_STILL,
    calendar_charge,
    price_risk,
    spread_credits,
)
from crossmargin.margin.components import Calendar, CreditSpread, DeliveryRule, TierSpread

Floats = NDArray[np.float64]
#: Number of scenarios of a standard risk array.
SCENARIOS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayContract:
    """A contract of a risk-array file.

    Attributes
    ----------
    id : str
        Name by which positions refer to it.
    commodity : str
        Combined commodity it belongs to.
    kind : {"physical", "future", "option"}
        Options paid for at once count with their value (see `price`).
    days : float
        Days from the file's date to expiry, at least 0.
    price, multiplier : float
        Price in currency per unit, and units of one contract.
    delta : float
        Composite delta of one long contract.
    loss : float64[16]
        See the module's "Sign".
    """

    id: str
    commodity: str
    kind: Literal["physical", "future", "option"]
    days: float
    price: float
    multiplier: float
    delta: float
    loss: Floats

    def __post_init__(self) -> None:
        """Refuse arrays of another length and figures that are no numbers."""
        if self.loss.shape != (SCENARIOS,):
            raise InputError(
                f"the risk array of {self.id!r} has {self.loss.size} scenarios, not {SCENARIOS}",
                code="INP-003",
                instrument=self.id,
                field="losses",
            )
        figures = np.array([self.days, self.price, self.multiplier, self.delta, *self.loss])
        if not np.isfinite(figures).all() or self.days < 0 or self.multiplier <= 0:
            raise InputError(
                f"the risk array of {self.id!r} has a figure that is no number or out of range",
                code="INP-003",
                instrument=self.id,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayCommodity:
    """A combined commodity of a risk-array file.

    Attributes
    ----------
    code, currency : str
        Name, and the currency of its contracts' losses.
    calendar : Calendar or None
        Tiers and priority table; charges in currency per unit of delta (``usd`` of a line).
    delivery : DeliveryRule or None
        Charge per unit of net delta near delivery, in currency (``usd``).
    short_option_minimum : float
        Currency per short option.
    """

    code: str
    currency: str
    calendar: Calendar | None = None
    delivery: DeliveryRule | None = None
    short_option_minimum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskArrays:
    """A risk-array file in memory.

    Attributes
    ----------
    as_of, source : str
        Date, and where it comes from.
    commodities, contracts : dict by code and id
        What it covers.
    credits : tuple of CreditSpread
        Inter-commodity table in order of priority; groups are commodities.
    not_read : tuple of str
        What the file has and the reader leaves out.
    """

    as_of: str
    source: str
    commodities: dict[str, ArrayCommodity]
    contracts: dict[str, ArrayContract]
    credits: tuple[CreditSpread, ...] = ()
    not_read: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class CommodityRisk:
    """SPAN of one combined commodity, in its currency.

    Attributes
    ----------
    scan, calendar, delivery, credit, minimum : float
        Scan risk, intra-commodity charge, delivery charge, inter-commodity credit (taken off) and
        short option minimum, each at least 0.
    active : int
        Scenario that gave the scan risk, 1 to 16; 0 where nothing loses.
    capped : float
        Taken off a commodity of long options alone, which cannot lose more than their value.
    risk : float
        ``max(scan + calendar + delivery − credit − capped, minimum)``.
    option_value : float
        Long less short option value.
    vector : float64[16]
        Losses of the whole position by scenario.
    """

    code: str
    scan: float
    active: int
    calendar: float
    delivery: float
    credit: float
    capped: float
    minimum: float
    risk: float
    option_value: float
    vector: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanResult:
    """SPAN of a portfolio, in one currency.

    Attributes
    ----------
    commodities : tuple of CommodityRisk
        In the file's order.
    risk : float
        Sum of the commodities' SPAN risk.
    option_value : float
        Net option value.
    requirement : float
        ``risk − option_value``: what cash must cover; below 0 where options are worth more.
    """

    commodities: tuple[CommodityRisk, ...]
    risk: float
    option_value: float
    requirement: float


def span_from_arrays(arrays: RiskArrays, positions: Mapping[str, float]) -> SpanResult:
    """Compute the SPAN requirement of positions over published risk arrays.

    Parameters
    ----------
    arrays : RiskArrays
        Contracts and parameters.
    positions : mapping of str to float
        Contracts held, > 0 long, by contract id.

    Raises
    ------
    InputError
        ``INP-001`` a contract that the file does not list; ``INP-003`` a quantity that is no
        number, or commodities in several currencies.
    """
    held: dict[str, list[tuple[ArrayContract, float]]] = {}
    for name, quantity in positions.items():
        contract = arrays.contracts.get(name)
        if contract is None:
            raise InputError(
                f"the risk-array file of {arrays.as_of} has no contract {name!r}",
                code="INP-001",
                instrument=name,
                hint="list the file's contracts and use their ids",
            )
        if not np.isfinite(quantity):
            raise InputError(
                f"the quantity of {name!r} is not a number", code="INP-003", instrument=name
            )
        held.setdefault(contract.commodity, []).append((contract, float(quantity)))
    currencies = {arrays.commodities[code].currency for code in held}
    if len(currencies) > 1:
        raise InputError(
            f"the positions are in several currencies ({', '.join(sorted(currencies))})",
            code="INP-003",
            field="positions",
            hint="compute each currency by itself",
        )
    vectors = {code: np.sum([q * c.loss for c, q in rows], axis=0) for code, rows in held.items()}
    deltas = {code: sum(q * c.delta for c, q in rows) for code, rows in held.items()}
    risks = {code: price_risk(v, STANDARD_PAIRS, STANDARD_STILL) for code, v in vectors.items()}
    credit = spread_credits(deltas, risks, arrays.credits).credit
    lines = tuple(
        _commodity(arrays.commodities[code], held[code], vectors[code], credit[code])
        for code in arrays.commodities
        if code in held
    )
    risk = sum((line.risk for line in lines), 0.0)
    worth = sum((line.option_value for line in lines), 0.0)
    return SpanResult(commodities=lines, risk=risk, option_value=worth, requirement=risk - worth)


def _commodity(
    rules: ArrayCommodity,
    rows: list[tuple[ArrayContract, float]],
    vector: Floats,
    credit: float,
) -> CommodityRisk:
    active = int(np.argmax(vector))
    scan = max(0.0, float(vector[active]))
    nets: dict[float, float] = {}
    for contract, q in rows:
        nets[contract.days] = nets.get(contract.days, 0.0) + q * contract.delta
    calendar = 0.0
    if rules.calendar is not None:
        calendar, _ = calendar_charge(nets, rules.calendar, _line_charge)
    delivery = 0.0
    if rules.delivery is not None:
        near = sum(
            q * c.delta for c, q in rows if c.kind != "physical" and c.days < rules.delivery.days
        )
        delivery = abs(near) * rules.delivery.usd
    options = [(c, q) for c, q in rows if c.kind == "option"]
    minimum = rules.short_option_minimum * sum(max(0.0, -q) for _, q in options)
    worth = sum(q * c.price * c.multiplier for c, q in options)
    before = scan + calendar + delivery - credit
    long_only = all(c.kind == "option" and q >= 0.0 for c, q in rows)
    capped = max(0.0, before - worth) if long_only else 0.0
    return CommodityRisk(
        code=rules.code,
        scan=scan,
        active=active + 1 if scan > 0.0 else 0,
        calendar=calendar,
        delivery=delivery,
        credit=credit,
        capped=capped,
        minimum=minimum,
        risk=max(before - capped, minimum),
        option_value=worth,
        vector=vector,
    )


def _line_charge(line: TierSpread) -> float:
    return line.usd
