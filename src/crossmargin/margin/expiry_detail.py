"""What happens inside one expiry, under rule-sets that margin options expiry by expiry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.instruments import KIND_CODE
from crossmargin.margin._feeds import least_confidence
from crossmargin.margin._frame import Frame
from crossmargin.margin._option_charges import bounded_alone, shocked_values
from crossmargin.margin._phi import static_discount
from crossmargin.margin.components import BasisContingency, OptionBounded, OracleConfidence
from crossmargin.scenarios import vol_multiplier

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryDetail:
    """One expiry of one group; figures that a rule-set does not have are NaN.

    Attributes
    ----------
    underlying : str
        Coin of the options.
    expiry_ns : int
        Expiry.
    gross : float
        Sum of absolute quantities.
    value : float
        Net value in the settlement asset.
    discount : float
        Discount factor of values.
    static_long, static_short : float
        Static discount of netted values of 0 or more, and below.
    vol_up, vol_down : float
        Multipliers of volatility.
    basis_up, basis_down : float
        Net value after the moves of the basis contingency.
    confidence : int or None
        Least confidence that the charge for doubtful feeds looks at, 1e-18 units.
    """

    underlying: str
    expiry_ns: int
    gross: float
    value: float
    discount: float
    static_long: float = np.nan
    static_short: float = np.nan
    vol_up: float = np.nan
    vol_down: float = np.nan
    basis_up: float = np.nan
    basis_down: float = np.nan
    confidence: int | None = None


def expiry_details(frame: Frame) -> list[ExpiryDetail]:
    """Describe every expiry in which options are held, by group and expiry."""
    a, book = frame.arrangement, frame.book
    held = book.position_instrument
    options = np.flatnonzero(frame.terms.kind[held] == KIND_CODE["option"])
    pairs = sorted(
        {(int(a.position_group[r]), int(frame.terms.expiry_ns[held[r]])) for r in options}
    )
    out = []
    for group, expiry in pairs:
        rows = options[
            (a.position_group[options] == group) & (frame.terms.expiry_ns[held[options]] == expiry)
        ]
        out.append(_detail(frame, group, expiry, rows))
    return out


def _detail(frame: Frame, group: int, expiry: int, rows: NDArray[np.int64]) -> ExpiryDetail:
    book, rules = frame.book, frame.ruleset
    instrument = book.position_instrument[rows]
    quantity = book.position_quantity[rows]
    figures: dict[str, float] = {}
    confidence = None
    for spec in rules.data.components:
        if isinstance(spec, BasisContingency):
            moved = quantity @ shocked_values(frame, instrument, (spec.up, spec.down))
            figures.update(basis_up=float(moved[0]), basis_down=float(moved[1]))
        elif isinstance(spec, OracleConfidence):
            confidence = least_confidence(spec, frame, int(rows[0]))
    scan = rules.scan
    if scan is not None and scan.static_discount is not None:
        a = frame.arrangement
        found = static_discount(scan, frame, np.zeros(a.segments))
        if found is not None:
            segment = int(a.position_segment[rows[0]])
            figures.update(
                static_long=float(found.long[segment]), static_short=float(found.short[segment])
            )
    if scan is not None:
        s = frame.plan.scenarios
        multiplier = vol_multiplier(
            s.shocks[int(frame.group_scenario_row[group])],
            frame.view.years[instrument[:1]],
            s.reference_days,
            reference_is_short=s.reference_is_short,
        )[0]
        figures.update(vol_up=float(multiplier[1]), vol_down=float(multiplier[2]))
    underlying = int(frame.terms.underlying[instrument[0]])
    return ExpiryDetail(
        underlying=book.registry.assets[underlying],
        expiry_ns=expiry,
        gross=float(np.abs(quantity).sum()),
        value=float(quantity @ frame.unit_value[instrument]),
        discount=float(frame.discount[instrument[0]]),
        confidence=confidence,
        **figures,
    )


def isolated_margins(frame: Frame) -> tuple[Floats, Floats]:
    """Net margin (IM, MM) of each position alone where options are bounded by expiry; else NaN.

    Returns
    -------
    im, mm : float64[N]
        In the quote currency, at most 0; 0 for long options.
    """
    held = frame.book.position_instrument
    out = np.full((2, held.size), np.nan)
    for spec in frame.ruleset.data.components:
        if isinstance(spec, OptionBounded):
            rows = np.flatnonzero(frame.terms.kind[held] == KIND_CODE["option"])
            quantity = frame.book.position_quantity[rows]
            out[0, rows], out[1, rows] = bounded_alone(spec, frame, held[rows], quantity)
    return out[0], out[1]
