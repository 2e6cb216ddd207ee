"""Return on margin, and ratios of capital by name.

Thrift is never shown without the buffer that it costs: the ratios stand beside the tail's.

Source: requirements A12 (return on margin), A19 (named ratios), A00 (margin saved);
clearing-practice-and-validation.md §4.1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from crossmargin.errors import InputError, MarginError
from crossmargin.margin import Statement
from crossmargin.market.history import moments_of, numbers_of, read_table

_YEAR_DAYS = 365.0
_NS_PER_DAY = 86_400 * 10**9


class MarginReturn(msgspec.Struct, frozen=True, kw_only=True):
    """Return on margin over a period.

    Attributes
    ----------
    pnl_usd, margin_usd : float
        Earned, and the time-weighted mean of the margin.
    days : float
        Length of the period.
    period, annual : float
        Earned over margin, for the period and simply scaled to 365 days.
    """

    pnl_usd: float
    margin_usd: float
    days: float
    period: float
    annual: float


def return_on_margin(
    pnl_usd: float, times_ns: Sequence[int], margins_usd: Sequence[float], end_ns: int
) -> MarginReturn:
    """Divide what was earned by the time-weighted margin.

    Parameters
    ----------
    pnl_usd : float
        Earned from the first moment to `end_ns`.
    times_ns : sequence of int
        Moments from which each margin stood, rising.
    margins_usd : sequence of float
        Margin from each moment on, at least 0.
    end_ns : int
        End of the period, after the last moment.

    Raises
    ------
    MarginError
        ``MRG-025`` for moments that do not rise, or no margin over the whole period.
    """
    moments = [*times_ns, end_ns]
    spans = [b - a for a, b in itertools.pairwise(moments)]
    good = (
        len(times_ns) == len(margins_usd) >= 1
        and all(span > 0 for span in spans)
        and all(math.isfinite(m) and m >= 0 for m in margins_usd)
        and math.isfinite(pnl_usd)
    )
    whole = sum(span * margin for span, margin in zip(spans, margins_usd)) if good else 0.0
    if whole <= 0:
        raise MarginError(
            "a return on margin needs rising moments and a margin above 0 over some of them",
            code="MRG-025",
            field="margins_usd",
        )
    total = end_ns - times_ns[0]
    margin, days = whole / total, total / _NS_PER_DAY
    period = pnl_usd / margin
    return MarginReturn(
        pnl_usd=pnl_usd,
        margin_usd=margin,
        days=days,
        period=period,
        annual=period * _YEAR_DAYS / days,
    )


def read_margins(path: str | Path) -> tuple[list[int], list[float]]:
    """Read margins through time: a table (Parquet, CSV) of ``time`` and ``im``, US dollars.

    Returns
    -------
    tuple of (list of int, list of float)
        Moments in order, ns UTC, and the margin from each on.

    Raises
    ------
    InputError
        ``INP-003`` for a missing column or a figure that cannot be, ``INP-005`` for the file.
    """
    table = read_table(path)
    for column in ("time", "im"):
        if column not in table.columns:
            raise InputError(
                f"{Path(path).name!r} has no column {column!r}: it has "
                f"{', '.join(table.columns[:12])}",
                code="INP-003",
                field=column,
                hint="write time, and im in US dollars; the last row ends the period",
            )
    made = table.with_columns(moments_of(table["time"]).alias("time")).sort("time")
    margins = numbers_of(made, "im").tolist()
    times = made["time"].dt.epoch("ns").to_list()
    if len(times) < 2 or any(not math.isfinite(x) or x < 0 for x in margins[:-1]):
        raise InputError(
            f"{Path(path).name!r} holds no margins through time", code="INP-003", field="im",
            hint="two rows at least, with margins of at least 0; the last row ends the period",
        )  # fmt: skip
    return times, margins


class NamedRatio(msgspec.Struct, frozen=True, kw_only=True):
    """One ratio with its name, formula and unit; None where it has no meaning."""

    name: str
    formula: str
    value: float | None
    unit: str = "×"


def capital_ratios(
    *,
    collateral_usd: float,
    notional_usd: float,
    im_usd: float,
    mm_usd: float = 0.0,
    open_interest_usd: float | None = None,
    volume_day_usd: float | None = None,
    pnl_usd: float | None = None,
    es_day_usd: float | None = None,
    standalone_im_usd: float | None = None,
    collateral_market_usd: float | None = None,
    funding_rate_year: float | None = None,
    peak_im_usd: float | None = None,
) -> list[NamedRatio]:
    """Return the ratios of capital by name; thrift is shown with the buffer that it costs.

    Parameters
    ----------
    collateral_usd, notional_usd, im_usd, mm_usd : float
        Equity that counts, gross notional, requirements.
    open_interest_usd, volume_day_usd, pnl_usd, es_day_usd, standalone_im_usd : float, optional
        Open interest, volume a day, earned over the period, expected shortfall of a day, sum of
        standalone margins.
    collateral_market_usd : float, optional
        Collateral before haircuts.
    funding_rate_year : float, optional
        What money costs a year, as a fraction.
    peak_im_usd : float, optional
        Peak of a margin path.

    Raises
    ------
    MarginError
        ``MRG-025`` for a figure that is no number.

    Notes
    -----
    Source: requirements A19 and A00; clearing-practice-and-validation.md §4.1.
    """
    for field, value in (
        ("collateral_usd", collateral_usd),
        ("notional_usd", notional_usd),
        ("im_usd", im_usd),
        ("mm_usd", mm_usd),
        ("open_interest_usd", open_interest_usd),
        ("volume_day_usd", volume_day_usd),
        ("pnl_usd", pnl_usd),
        ("es_day_usd", es_day_usd),
        ("standalone_im_usd", standalone_im_usd),
        ("collateral_market_usd", collateral_market_usd),
        ("funding_rate_year", funding_rate_year),
        ("peak_im_usd", peak_im_usd),
    ):
        if value is not None and not math.isfinite(value):
            raise MarginError(f"{field} is {value:g}", code="MRG-025", field=field)
    rows: list[tuple[str, str, float | None, float | None, str]] = [
        ("notional per collateral", "notional / collateral", notional_usd, collateral_usd, "×"),
        ("open interest per collateral", "open interest / collateral", open_interest_usd,
         collateral_usd, "×"),
        ("turnover", "volume a day / collateral", volume_day_usd, collateral_usd, "× a day"),
        ("initial margin used", "IM / collateral", im_usd, collateral_usd, "share"),
        ("maintenance margin used", "MM / collateral", mm_usd, collateral_usd, "share"),
        ("margin per notional", "IM / notional", im_usd, notional_usd, "share"),
        ("return on margin", "P&L / IM", pnl_usd, im_usd, "share"),
        ("return on tail risk", "P&L / ES", pnl_usd, es_day_usd, "share"),
        ("tail per collateral", "ES of a day / collateral", es_day_usd, collateral_usd, "share"),
        ("buffer", "(collateral − MM) / ES of a day", collateral_usd - mm_usd, es_day_usd,
         "days of ES"),
        ("peak of the path", "peak IM / IM", peak_im_usd, im_usd, "×"),
        ("collateral that counts", "counted / market value", collateral_usd,
         collateral_market_usd, "share"),
    ]  # fmt: skip
    found = [
        NamedRatio(name=name, formula=text, value=_over(a, b), unit=unit)
        for name, text, a, b, unit in rows
        if a is not None and b is not None
    ]
    if standalone_im_usd is not None:
        share = _over(im_usd, standalone_im_usd)
        found.append(
            NamedRatio(
                name="margin saved",
                formula="1 − IM / Σ standalone IM",
                value=None if share is None else 1.0 - share,
                unit="share",
            )
        )
        found.append(
            NamedRatio(
                name="multiplier",
                formula="Σ standalone IM / IM",
                value=_over(standalone_im_usd, im_usd),
            )
        )
    found.append(
        NamedRatio(
            name="idle collateral",
            formula="collateral − IM",
            value=collateral_usd - im_usd,
            unit="USD",
        )
    )
    if funding_rate_year is not None:
        found.append(
            NamedRatio(
                name="cost of margin",
                formula="rate × IM",
                value=funding_rate_year * im_usd,
                unit="USD a year",
            )
        )
    return found


def statement_ratios(
    made: Statement,
    *,
    es_day_usd: float | None = None,
    pnl_usd: float | None = None,
    open_interest_usd: float | None = None,
    volume_day_usd: float | None = None,
    funding_rate_year: float | None = None,
) -> list[NamedRatio]:
    """Return the ratios of capital of a statement.

    Parameters
    ----------
    made : Statement
        Of one account.
    es_day_usd, pnl_usd, open_interest_usd, volume_day_usd, funding_rate_year : float, optional
        As for :func:`capital_ratios`.
    """
    totals = made.totals
    return capital_ratios(
        collateral_usd=totals.equity_im,
        notional_usd=sum(line.notional_usd for line in made.positions),
        im_usd=totals.im,
        mm_usd=totals.mm,
        es_day_usd=es_day_usd,
        pnl_usd=pnl_usd,
        standalone_im_usd=totals.standalone_im,
        collateral_market_usd=totals.equity_im + totals.haircut,
        open_interest_usd=open_interest_usd,
        volume_day_usd=volume_day_usd,
        funding_rate_year=funding_rate_year,
    )


def _over(a: float, b: float) -> float | None:
    return a / b if b > 0 else None
