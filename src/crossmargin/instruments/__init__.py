"""What can be held: assets, spot, perpetuals, dated futures and options; linear and inverse."""

from __future__ import annotations

from crossmargin.instruments._registry import NO_EXPIRY_NS, Registry, Terms
from crossmargin.instruments._symbols import (
    ccxt_symbol,
    deribit_name,
    expiry_ns_from_date,
    parse_instrument,
)
from crossmargin.instruments._types import (
    DOLLARS,
    KIND_CODE,
    Future,
    Instrument,
    Kind,
    Option,
    Perpetual,
    Spot,
    describe,
    expiry_of,
)

__all__ = [
    "DOLLARS",
    "KIND_CODE",
    "NO_EXPIRY_NS",
    "Future",
    "Instrument",
    "Kind",
    "Option",
    "Perpetual",
    "Registry",
    "Spot",
    "Terms",
    "ccxt_symbol",
    "deribit_name",
    "describe",
    "expiry_ns_from_date",
    "expiry_of",
    "parse_instrument",
]
