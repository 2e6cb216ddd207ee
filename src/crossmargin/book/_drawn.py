"""What is drawn for a made-up book: accounts, trades in lots, and their numbers rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Powers of ten; that of nought stands in the middle, at 30.
TENS = 10.0 ** np.arange(-30, 31)
_MARK_DIGITS = 6


def joined(counts: list[Ints]) -> Ints:
    out = np.zeros(sum(one.size for one in counts) + 1, dtype=np.int64)
    np.cumsum(np.concatenate(counts), out=out[1:])
    return out


@dataclass(frozen=True, slots=True)
class Part:
    """Some accounts: rows of each, and the rows."""

    held: Ints
    instrument: NDArray[Any]
    quantity: Floats
    entry: Floats
    owned: Ints
    asset: NDArray[Any]
    amount: Floats

    def first(self, count: int) -> Part:
        n, b = int(self.held[:count].sum()), int(self.owned[:count].sum())
        return Part(
            self.held[:count],
            self.instrument[:n],
            self.quantity[:n],
            self.entry[:n],
            self.owned[:count],
            self.asset[:b],
            self.amount[:b],
        )


@dataclass(slots=True)
class DrawnAccounts:
    """Accounts being drawn: kind, liked underlying, gross notional and cushion of each."""

    kind: Ints
    home: Ints
    gross_usd: Floats
    cushion: Floats
    bias: Floats


@dataclass(slots=True)
class DrawnTrades:
    """Trades being drawn, in lots, and coins bought with them."""

    owner: list[Ints]
    instrument: list[Ints]
    lots: list[Ints]
    coins: Floats

    def add(self, owner: Ints, instrument: Ints, lots: Ints) -> None:
        self.owner.append(owner)
        self.instrument.append(instrument)
        self.lots.append(lots)


def scaled(lots: Ints, decimals: Ints) -> Floats:
    """Return ``lots × 10 ** -decimals``, rounded once."""
    return np.asarray(
        np.where(decimals > 0, lots / TENS[30 + decimals], lots * TENS[30 - decimals])
    )


def significant(values: Floats) -> Floats:
    """Round to six significant digits."""
    with np.errstate(divide="ignore"):
        size = np.floor(np.log10(values))
    shift = np.where(np.isfinite(size), _MARK_DIGITS - 1 - size, 0.0).astype(np.int64)
    shift = np.clip(shift, -30, 30)
    scale = TENS[30 + np.abs(shift)]
    down = np.rint(values / scale) * scale
    return np.asarray(np.where(shift >= 0, np.rint(values * scale) / scale, down))
