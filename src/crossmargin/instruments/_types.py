"""What can be held: spot, perpetual, dated future and option; linear and inverse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from crossmargin.errors import InputError
from crossmargin.units import format_time

Kind = Literal["spot", "perpetual", "future", "option"]

#: Assets whose price is meant to be one US dollar; each is still a factor of its own.
DOLLARS = frozenset({"USD", "USDC", "USDT"})

#: Codes used in columns. The order is part of the stored format: append, never reorder.
KIND_CODE: dict[Kind, int] = {"spot": 0, "perpetual": 1, "future": 2, "option": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Terms common to everything that can be held.

    Units and sign
    --------------
    One unit of quantity is `contract_size` of the underlying coin (linear instruments, options,
    spot) or `contract_size` of the quote currency (inverse futures and perpetuals: Deribit's
    BTC-PERPETUAL counts US dollars). Quantity > 0 is long.

    Parameters
    ----------
    id : str
        Stable name. Deribit's grammar where it says everything (``BTC-27MAR26-90000-C``,
        ``BTC_USDC-PERPETUAL``), else the ccxt unified symbol (``BTC/USD:USDC``).
    underlying : str
        The coin whose price moves it, for example ``"BTC"``.
    quote : str
        Currency in which strikes and forwards are stated, for example ``"USD"`` or ``"USDC"``.
    settlement : str
        Asset in which profit and loss is paid.
    contract_size : float
        Positive; see above.
    """

    id: str
    underlying: str
    quote: str
    settlement: str
    contract_size: float = 1.0

    def __post_init__(self) -> None:
        """Refuse terms that no contract can have."""
        for name in ("id", "underlying", "quote", "settlement"):
            if not getattr(self, name):
                raise InputError("an instrument needs a name", code="INP-020", field=name)
        if not (math.isfinite(self.contract_size) and self.contract_size > 0):
            raise InputError(
                f"contract size {self.contract_size!r} is not a positive number",
                code="INP-020",
                instrument=self.id,
                field="contract_size",
            )

    @property
    def kind(self) -> Kind:
        """One of ``spot``, ``perpetual``, ``future``, ``option``."""
        raise InputError("a bare Instrument has no kind", code="INP-020", instrument=self.id)

    @property
    def inverse(self) -> bool:
        """Whether profit is paid in the underlying coin itself."""
        return self.settlement == self.underlying and self.kind != "spot"

    @property
    def quantity_unit(self) -> str:
        """The asset that one unit of quantity counts (times `contract_size`)."""
        return self.quote if self.inverse and self.kind != "option" else self.underlying


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot(Instrument):
    """A coin held against its quote currency."""

    @property
    def kind(self) -> Kind:
        """Return ``"spot"``."""
        return "spot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Perpetual(Instrument):
    """A future without expiry, tied to the index by funding."""

    @property
    def kind(self) -> Kind:
        """Return ``"perpetual"``."""
        return "perpetual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Future(Instrument):
    """A dated future.

    Parameters
    ----------
    expiry_ns : int
        Expiry, nanoseconds UTC.
    """

    expiry_ns: int

    @property
    def kind(self) -> Kind:
        """Return ``"future"``."""
        return "future"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option(Instrument):
    """A European option on the underlying's index, cash settled.

    Inverse options pay ``max(S − K, 0) / S`` coins for a call; linear ones pay in the quote.

    Parameters
    ----------
    expiry_ns : int
        Expiry, nanoseconds UTC.
    strike : float
        Strike in the quote currency.
    option_type : {"call", "put"}
        Right.
    """

    expiry_ns: int
    strike: float
    option_type: Literal["call", "put"]

    def __post_init__(self) -> None:
        """Check the common terms, then strike and right."""
        Instrument.__post_init__(self)
        if not (math.isfinite(self.strike) and self.strike > 0):
            raise InputError(
                f"strike {self.strike!r} is not a positive number",
                code="INP-020",
                instrument=self.id,
                field="strike",
            )
        if self.option_type not in ("call", "put"):
            raise InputError(
                f"option type {self.option_type!r} is neither call nor put",
                code="INP-020",
                instrument=self.id,
                field="option_type",
            )

    @property
    def kind(self) -> Kind:
        """Return ``"option"``."""
        return "option"

    @property
    def is_call(self) -> bool:
        """Whether it is a call."""
        return self.option_type == "call"


def expiry_of(instrument: Instrument) -> int | None:
    """Return the expiry in nanoseconds UTC, or None for spot and perpetuals."""
    return instrument.expiry_ns if isinstance(instrument, Future | Option) else None


def describe(instrument: Instrument) -> str:
    """Say in words what the instrument is, for messages and reports."""
    shape = "inverse" if instrument.inverse else "linear"
    expiry = expiry_of(instrument)
    when = f" expiring {format_time(expiry)}" if expiry is not None else ""
    if isinstance(instrument, Option):
        return (
            f"{shape} {instrument.option_type} on {instrument.underlying}, strike "
            f"{instrument.strike:g} {instrument.quote}{when}, settled in {instrument.settlement}"
        )
    if instrument.kind == "spot":
        return f"spot {instrument.underlying} against {instrument.quote}"
    return (
        f"{shape} {instrument.kind} on {instrument.underlying}{when}, "
        f"settled in {instrument.settlement}"
    )
