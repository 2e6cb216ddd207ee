"""What a market reader gives back: the snapshot, and everything it left out or could not mend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from crossmargin.market import Snapshot
from crossmargin.market.arbitrage import ArbitrageViolation
from crossmargin.market.fit import SviFit
from crossmargin.units import format_time

Reason = Literal[
    "combo",
    "name",
    "duplicate",
    "expired",
    "after_as_of",
    "missing_mark",
    "missing_vol",
    "not_a_number",
    "not_positive",
    "vol_range",
    "crossed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Something that was left out of the snapshot.

    Attributes
    ----------
    instrument : str
        Name as the venue wrote it.
    reason : str
        ``combo`` (a combination, not an instrument), ``name`` (unreadable), ``duplicate``,
        ``expired``, ``after_as_of`` (newer than the market's own time), ``missing_mark``,
        ``missing_vol``, ``not_a_number``, ``not_positive``, ``vol_range``, ``crossed``.
    sentence : str
        The same for people.
    row : bool
        True when the whole instrument was left out; False when only some of its figures were.
    """

    instrument: str
    reason: Reason
    sentence: str
    row: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryFit:
    """The smile of one expiry.

    Attributes
    ----------
    underlying : str
        Coin.
    expiry_ns : int
        Expiry, ns UTC.
    quote : str
        Quote currency of the options that were fitted; ``USD`` for inverse ones.
    fit : SviFit
        The slice and its errors (volatility as a decimal).
    """

    underlying: str
    expiry_ns: int
    quote: str
    fit: SviFit

    @property
    def rmse_vol_points_10_90_delta(self) -> float | None:
        """Root mean square error between 10 and 90 delta, in vol points (percent)."""
        error = self.fit.rmse_vol_10_90
        return None if error is None else 100.0 * error


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An arbitrage condition that a fitted surface still breaks.

    Attributes
    ----------
    underlying : str
        Coin.
    expiry_ns : int
        Expiry, ns UTC; of a calendar violation the nearer one.
    record : ArbitrageViolation
        Kind, place and size.
    """

    underlying: str
    expiry_ns: int
    record: ArbitrageViolation

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.underlying} {format_time(self.expiry_ns)} {self.record}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far one price differed between the rows that state it: they were polled in turn.

    Attributes
    ----------
    what : str
        For example ``BTC index`` or ``BTC forward 2026-03-27T08:00:00Z``.
    low, median, high : float
        Over the rows, in the currency of the rows.
    """

    what: str
    low: float
    median: float
    high: float

    @property
    def range_rel(self) -> float:
        """Highest less lowest as a fraction of the median, at least 0."""
        return (self.high - self.low) / self.median


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """A snapshot and the account of how it was made.

    Attributes
    ----------
    snapshot : Snapshot
        The market, with every quote that was kept.
    dropped : tuple of Dropped
        In the order of the rows.
    fits : tuple of ExpiryFit
        By underlying and expiry.
    violations : tuple of Violation
        Butterfly and calendar arbitrage left in the fitted surfaces.
    spreads : tuple of Spread
        Index and forwards inside the snapshot.
    notes : tuple of str
        Prices that stay missing and expiries that could not be fitted, as sentences.
    """

    snapshot: Snapshot
    dropped: tuple[Dropped, ...] = ()
    fits: tuple[ExpiryFit, ...] = ()
    violations: tuple[Violation, ...] = ()
    spreads: tuple[Spread, ...] = ()
    notes: tuple[str, ...] = ()
    fitted: Mapping[tuple[str, int], ExpiryFit] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the fits by underlying and expiry."""
        table = {(one.underlying, one.expiry_ns): one for one in self.fits}
        object.__setattr__(self, "fitted", table)

    def dropped_by_reason(self) -> dict[str, int]:
        """Count what was left out, by reason."""
        counts: dict[str, int] = {}
        for one in self.dropped:
            counts[one.reason] = counts.get(one.reason, 0) + 1
        return counts
