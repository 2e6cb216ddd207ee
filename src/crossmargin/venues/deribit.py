"""Deribit's book summaries as a market.

Source: docs.deribit.com, ``public/get_book_summary_by_currency``, response fields (API 2.1.1).

======================== =====================================================================
field                    becomes
======================== =====================================================================
instrument_name          the instrument; names of combinations are skipped with a reason
mark_price               mark: US dollars (inverse futures and perpetuals), coins (inverse
                         options), the quote currency (linear contracts and spot)
mark_iv                  volatility of an option: percent there, a decimal here
underlying_price         forward of an option, in its quote currency; the listed future's mark,
                         or Deribit's synthetic forward (``SYN.`` in underlying_index)
bid_price, ask_price     best quotes; ``null`` and 0 mean that there is none
funding_8h               funding of a perpetual, as a fraction, > 0 when longs pay
estimated_delivery_price index of the underlying, except in the last half hour before expiry,
                         when it is the settlement average and does not count
creation_timestamp       time of the row, milliseconds UTC; without one, the market's time
======================== =====================================================================

``current_funding`` (the momentary rate), ``mid_price``, ``open_interest``, ``interest_rate`` and
the trade statistics are not used. Currencies are read from the instrument's name.

Limits: several replies are several moments. The rows carry their own times, and
:attr:`SnapshotReport.spreads` says how far index and forwards differ between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crossmargin.errors import InputError
from crossmargin.venues._build import build_report, given_prices, market_file
from crossmargin.venues._report import SnapshotReport
from crossmargin.venues._rows import Row, clean_rows

__all__ = ["market_file", "snapshot_from_book_summary"]

_NS_PER_MS = 1_000_000


def snapshot_from_book_summary(
    replies: Mapping[str, Any] | Sequence[Any],
    *,
    as_of_ns: int | None = None,
    index_price: Mapping[str, float] | None = None,
    source: str = "Deribit book summary",
) -> SnapshotReport:
    """Turn replies of ``public/get_book_summary_by_currency`` into a snapshot.

    Parameters
    ----------
    replies : mapping or sequence
        One reply or several, of any currencies and kinds, mixed: JSON-RPC envelopes
        (``{"jsonrpc": ..., "result": [...]}``), bare lists of rows, or lists of either.
    as_of_ns : int, optional
        The market's time, ns UTC; by default that of the newest row. Newer rows are left out.
    index_price : mapping of str to float, optional
        US dollars per unit of assets, such as ``{"USDC": 0.9998}``; they win over the rows'. The
        price of a stablecoin is in no row: without it here it stays missing, and so do the
        index and the forward of coins that have linear contracts only.
    source : str
        Named in the snapshot.

    Returns
    -------
    SnapshotReport
        The forward of an expiry is the median that its options state, because that is what
        their volatilities belong to; without options it is the mark of the future.

    Raises
    ------
    InputError
        ``INP-031`` for a reply that is neither rows nor an envelope, ``INP-032`` for an error
        from the venue, ``INP-033`` when no row has a time and none is given.
    MarketDataError
        ``MKT-009`` for a given price that is not positive.
    """
    raw = list(_rows_of(replies))
    times = [time for one in raw if (time := _time_ns(one)) is not None]
    if as_of_ns is None:
        if not times:
            raise InputError(
                "no row says when it was made",
                code="INP-033",
                field="creation_timestamp",
                hint="give as_of_ns (on the command line: --at)",
            )
        as_of_ns = max(times)
    rows = (_row(one, as_of_ns, source) for one in raw)
    return build_report(
        clean_rows(rows, as_of_ns),
        as_of_ns=as_of_ns,
        given=given_prices(index_price or {}, as_of_ns),
        source=source,
    )


def _rows_of(reply: Any) -> Iterator[Any]:
    """Walk through envelopes and lists down to the rows."""
    if isinstance(reply, Mapping):
        if reply.get("error") is not None:
            raise _venue_error(reply["error"])
        if "result" not in reply:
            yield reply
        elif isinstance(reply["result"], Mapping):
            yield reply["result"]
        elif _is_list(reply["result"]):
            yield from reply["result"]
        else:
            raise _unreadable("the result of a reply is no list of rows")
    elif _is_list(reply):
        for one in reply:
            yield from _rows_of(one)
    else:
        raise _unreadable(f"a reply is {type(reply).__name__}, not a list or an envelope")


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _unreadable(what: str) -> InputError:
    return InputError(
        what,
        code="INP-031",
        field="result",
        hint="pass the decoded JSON of public/get_book_summary_by_currency",
    )


def _venue_error(error: Any) -> InputError:
    said = error.get("message", error) if isinstance(error, Mapping) else error
    number = f" {error['code']}" if isinstance(error, Mapping) and "code" in error else ""
    return InputError(
        f"Deribit answered with error{number}: {said}",
        code="INP-032",
        field="error",
        hint="ask again; no market was read",
    )


def _time_ns(row: Any) -> int | None:
    stamp = row.get("creation_timestamp") if isinstance(row, Mapping) else None
    if isinstance(stamp, bool) or not isinstance(stamp, int):
        return None
    return stamp * _NS_PER_MS


def _row(raw: Any, as_of_ns: int, source: str) -> Row:
    if not isinstance(raw, Mapping):
        return Row(name=raw if not isinstance(raw, str) else repr(raw), time_ns=as_of_ns)
    time_ns = _time_ns(raw)
    iv: Any = raw.get("mark_iv")
    percent = isinstance(iv, int | float) and not isinstance(iv, bool)
    return Row(
        name=raw.get("instrument_name"),
        mark=raw.get("mark_price"),
        bid=raw.get("bid_price"),
        ask=raw.get("ask_price"),
        vol=iv / 100.0 if percent else iv,
        forward=raw.get("underlying_price"),
        index=raw.get("estimated_delivery_price"),
        funding=raw.get("funding_8h"),
        time_ns=as_of_ns if time_ns is None else time_ns,
        source=source,
    )
