"""The outside world's formats: venue replies, recorded chains, ccxt structures, shipped markets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossmargin.venues._build import market_file
from crossmargin.venues._draft import Figures, PositionFigures, Reported, VenueReading
from crossmargin.venues._report import Dropped, ExpiryFit, SnapshotReport, Spread, Violation
from crossmargin.venues.accounts import account_venues, read_account_files, read_account_replies
from crossmargin.venues.bracket_replies import bracket_venues, read_bracket_file, read_brackets
from crossmargin.venues.brackets import Bracket, BracketReading, BracketTable, parameters_toml
from crossmargin.venues.brackets import choose as choose_brackets
from crossmargin.venues.ccxt import account_from_ccxt
from crossmargin.venues.deribit import snapshot_from_book_summary
from crossmargin.venues.hyperliquid_recorded import PositionRecords, read_hyperliquid_positions
from crossmargin.venues.shipped import (
    account_names,
    history_names,
    load_account,
    load_market,
    market_names,
    shipped_files,
    shipped_history,
)

if TYPE_CHECKING:
    from crossmargin.venues.recorded import snapshot_from_recorded_chain, snapshot_moments
    from crossmargin.venues.risk_arrays import (
        decode_risk_array_csv,
        decode_risk_arrays,
        decode_span_xml,
        load_risk_arrays,
    )

__all__ = [
    "Bracket",
    "BracketReading",
    "BracketTable",
    "Dropped",
    "ExpiryFit",
    "Figures",
    "PositionFigures",
    "PositionRecords",
    "Reported",
    "SnapshotReport",
    "Spread",
    "VenueReading",
    "Violation",
    "account_from_ccxt",
    "account_names",
    "account_venues",
    "bracket_venues",
    "choose_brackets",
    "decode_risk_array_csv",
    "decode_risk_arrays",
    "decode_span_xml",
    "history_names",
    "load_account",
    "load_market",
    "load_risk_arrays",
    "market_file",
    "market_names",
    "parameters_toml",
    "read_account_files",
    "read_account_replies",
    "read_bracket_file",
    "read_brackets",
    "read_hyperliquid_positions",
    "shipped_files",
    "shipped_history",
    "snapshot_from_book_summary",
    "snapshot_from_recorded_chain",
    "snapshot_moments",
]

#: Loaded when first asked for, so that the module can also be run with ``python -m``.
_RECORDED = ("snapshot_from_recorded_chain", "snapshot_moments")
_ARRAYS = ("decode_risk_array_csv", "decode_risk_arrays", "decode_span_xml", "load_risk_arrays")


def __getattr__(name: str) -> Any:
    if name in _RECORDED:
        from crossmargin.venues import recorded

        return getattr(recorded, name)
    if name in _ARRAYS:
        from crossmargin.venues import risk_arrays

        return getattr(risk_arrays, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
