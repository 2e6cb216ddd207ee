"""A registry gives instruments dense indices and their terms as columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.errors import InputError
from crossmargin.instruments._symbols import parse_instrument
from crossmargin.instruments._types import KIND_CODE, Instrument, Option, expiry_of

#: Stands for "no expiry" in the column of expiries: later than any date.
NO_EXPIRY_NS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of all instruments of a registry as columns, each of shape ``[n]``.

    Attributes
    ----------
    kind : int8
        Codes of ``KIND_CODE``.
    underlying, settlement, quote : int32
        Indices into :attr:`Registry.assets`.
    inverse, is_call : bool
        Shape of the pay-off; `is_call` is False for everything but calls.
    contract_size, strike : float64
        Strike is NaN where there is none.
    expiry_ns : int64
        ``NO_EXPIRY_NS`` for spot and perpetuals.
    """

    kind: NDArray[np.int8]
    underlying: NDArray[np.int32]
    settlement: NDArray[np.int32]
    quote: NDArray[np.int32]
    inverse: NDArray[np.bool_]
    is_call: NDArray[np.bool_]
    contract_size: NDArray[np.float64]
    strike: NDArray[np.float64]
    expiry_ns: NDArray[np.int64]


class Registry:
    """Instruments in a fixed order, each with a dense index.

    A stored index is meaningless without the registry that gave it, so anything stored with
    indices carries :attr:`content_hash`.

    Parameters
    ----------
    instruments : iterable of Instrument
        In the order of their indices; ids must differ.
    """

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._instruments: list[Instrument] = []
        self._index: dict[str, int] = {}
        self._aliases: dict[str, int] = {}
        self._assets: list[str] = []
        self._asset_index: dict[str, int] = {}
        self._terms: Terms | None = None
        for instrument in instruments:
            self.add(instrument)

    def __len__(self) -> int:
        return len(self._instruments)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._instruments)

    def __getitem__(self, index: int) -> Instrument:
        return self._instruments[index]

    def __contains__(self, instrument_id: object) -> bool:
        return instrument_id in self._index

    @property
    def assets(self) -> list[str]:
        """Underlyings and settlement assets, in order of first appearance."""
        return self._assets

    def add(self, instrument: Instrument) -> int:
        """Add an instrument, or return the index it already has.

        Raises
        ------
        InputError
            ``INP-021`` when the id is taken by an instrument with other terms.
        """
        known = self._index.get(instrument.id)
        if known is not None:
            if self._instruments[known] != instrument:
                raise InputError(
                    f"two different instruments are called {instrument.id!r}",
                    code="INP-021",
                    instrument=instrument.id,
                )
            return known
        index = len(self._instruments)
        self._instruments.append(instrument)
        self._index[instrument.id] = index
        for asset in (instrument.underlying, instrument.settlement, instrument.quote):
            self.asset(asset)
        self._terms = None
        return index

    def asset(self, name: str) -> int:
        """Return the dense index of an asset, adding it when new."""
        index = self._asset_index.get(name)
        if index is None:
            index = self._asset_index[name] = len(self._assets)
            self._assets.append(name)
        return index

    def resolve(self, name: str) -> int:
        """Return the index of `name` in any spelling, adding the instrument when new.

        Raises
        ------
        InputError
            ``INP-001`` when the name cannot be read.
        """
        index = self._index.get(name)
        if index is None:
            index = self._aliases.get(name)
        if index is None:
            instrument = parse_instrument(name)
            index = self._index.get(instrument.id)
            if index is None:
                index = self.add(instrument)
            self._aliases[name] = index
        return index

    @property
    def terms(self) -> Terms:
        """Terms as columns (built once, rebuilt when an instrument is added)."""
        if self._terms is None:
            items = self._instruments
            self._terms = Terms(
                kind=np.array([KIND_CODE[i.kind] for i in items], dtype=np.int8),
                underlying=np.array(
                    [self._asset_index[i.underlying] for i in items], dtype=np.int32
                ),
                settlement=np.array(
                    [self._asset_index[i.settlement] for i in items], dtype=np.int32
                ),
                quote=np.array([self._asset_index[i.quote] for i in items], dtype=np.int32),
                inverse=np.array([i.inverse for i in items], dtype=np.bool_),
                is_call=np.array(
                    [isinstance(i, Option) and i.is_call for i in items], dtype=np.bool_
                ),
                contract_size=np.array([i.contract_size for i in items], dtype=np.float64),
                strike=np.array(
                    [i.strike if isinstance(i, Option) else np.nan for i in items],
                    dtype=np.float64,
                ),
                expiry_ns=np.array(
                    [NO_EXPIRY_NS if (e := expiry_of(i)) is None else e for i in items],
                    dtype=np.int64,
                ),
            )
        return self._terms

    @property
    def content_hash(self) -> str:
        """SHA-256 over ids and terms in order: the identity of the indices."""
        digest = hashlib.sha256()
        for item in self._instruments:
            digest.update(repr(item).encode())
        return digest.hexdigest()
