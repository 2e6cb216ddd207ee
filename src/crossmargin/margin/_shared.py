"""What all chunks of a large book share: the priced market, and what no account can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import Book, CompactBook
from crossmargin.errors import CrossmarginError, RulesetError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin._arrange import Arrangement, arrange, underlying_aliases
from crossmargin.margin._faults import Faults, not_a_number
from crossmargin.margin._frame import MARKET_COLUMNS, Frame, missing_rate
from crossmargin.margin._location import counted_book
from crossmargin.margin.engine import at_index, mark_entries, require_orders_known, untraded
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import MarketView, Snapshot, missing_prices
from crossmargin.scenarios import TablePlan, build_scenarios, plan_table

Ints = NDArray[np.int64]
Reasons = dict[int, Callable[[], CrossmarginError]]


class SharedMarket:
    """A market seen by all accounts of a book, priced once.

    What the market or the rule-set lacks is found once, by instrument and by asset; the accounts
    of a chunk that need it are noted with a reason of their own, in the order in which an account
    alone would be refused.

    Parameters
    ----------
    book : CompactBook
        Whose instruments and assets are priced.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.

    Raises
    ------
    CrossmarginError
        What no account could do without is missing: the price of the numeraire.
    """

    def __init__(self, book: CompactBook, snapshot: Snapshot, ruleset: Ruleset) -> None:
        self._ruleset, self._snapshot = ruleset, snapshot
        registry = book.registry
        nobody = _no_accounts(book)
        # Leaders of aliased assets and the numeraire enter the registry before a chunk is cut.
        arranged = arrange(nobody, ruleset)
        follow = underlying_aliases(nobody, ruleset)
        if ruleset.data.numeraire not in ("USD", "settlement"):
            snapshot.asset_usd(ruleset.data.numeraire)
        terms, used = registry.terms, book.instruments_used()
        view, missing = missing_prices(snapshot, registry, used.tolist())
        if ruleset.data.price_view == "index":
            view = at_index(view, registry)
        self._view = view
        not_traded: Reasons = {
            i: _untraded(book, i, ruleset)
            for i in used.tolist()
            if untraded(registry, i, ruleset) is not None
        }
        priceless: Reasons = {i: _copy_of(error) for i, error in missing.items()}
        names = registry.assets
        no_price: Reasons = {
            a: _price_of(snapshot, names[a])
            for a in np.flatnonzero(np.isnan(view.asset_usd)).tolist()
            if names[a] != "USD"
        }
        rateless: Reasons = {}
        if _needs_rates(ruleset):
            lacking = np.isnan(view.rate[used]) & (terms.kind[used] == KIND_CODE["option"])
            rateless = {i: _rate_of(registry[i].id, ruleset) for i in used[lacking].tolist()}
        self._instruments = (not_traded, priceless)
        self._rateless = rateless
        self._assets = no_price
        out = {*not_traded, *priceless, *rateless}
        fine = used[[i not in out for i in used.tolist()]] if out else used
        self._memo: dict[str, Any] = {
            "terms": terms,
            "follow": follow,
            "used": fine,
            # Filled as chunks ask: what instruments and assets alone decide.
            "rule_keys": {},
            # Stages that have a compiled form for many accounts take it.
            "large book": True,
        }
        self._unknown: Reasons = {}
        if ruleset.scan is not None:
            self._memo["plan"] = self._plan(book, fine, follow)
        self._here: dict[str, Any] = {}
        self._columns = _market_columns(nobody, ruleset, arranged, view, self._memo)

    @property
    def ruleset(self) -> Ruleset:
        """The rules."""
        return self._ruleset

    @property
    def refused(self) -> set[int]:
        """Instruments that cannot be margined here, whoever holds them."""
        return {*self._instruments[0], *self._instruments[1], *self._rateless}

    def _plan(self, book: CompactBook, used: Ints, follow: Ints) -> TablePlan:
        """Plan the risk table over all that may be scanned: instruments, and coins stressed."""
        spec, registry = self._ruleset.data.scenarios, book.registry
        if spec is None:
            raise RulesetError(
                f"rule-set {self._ruleset.id!r} has no scenarios", code="RUL-005", field="scenarios"
            )
        touched = np.zeros(len(registry.assets), dtype=np.bool_)
        touched[follow[registry.terms.underlying[used]]] = True
        owned = np.zeros_like(touched)
        owned[follow[book.assets_used()]] = True
        known = []
        for asset in np.flatnonzero(touched | owned).tolist():
            name = registry.assets[asset]
            try:
                spec.shocks_for(name)
            except CrossmarginError:
                self._unknown[asset] = _shocks_of(spec.shocks_for, name)
                continue
            known.append(name)
        return plan_table(
            registry,
            build_scenarios(spec, known),
            rows=used,
            underlying_alias=self._ruleset.data.groups,
        )

    def frame(self, book: Book, faults: Faults) -> Frame:
        """Arrange some accounts in this market, and note those that cannot be computed.

        The order of the steps is that of :func:`crossmargin.margin.engine.frame_for`.
        """
        ruleset = self._ruleset
        _note_numbers(book, faults)
        book, left_out = counted_book(book, ruleset, self._snapshot.moment_ns)
        arrangement = arrange(book, ruleset, faults)
        require_orders_known(book, ruleset, faults)
        frame = Frame(
            book,
            ruleset,
            arrangement,
            self._view,
            entry=mark_entries(book, self._view),
            memo=dict(self._memo),
            left_out=left_out,
            faults=faults,
            shares=False,
        )
        frame.__dict__.update(self._columns)
        frame.__dict__["_here"] = self._here
        for reasons in self._instruments:
            _note_instruments(frame, reasons)
        a = arrangement
        _note(frame, self._assets, a.group_underlying, a.group_pot)
        owned = np.flatnonzero(book.balance_amount != 0.0)
        _note(frame, self._assets, book.balance_asset[owned], a.balance_pot[owned])
        _note(frame, self._unknown, a.group_underlying, a.group_pot)
        _note_instruments(frame, self._rateless)
        return frame


def _note_numbers(book: Book, faults: Faults) -> None:
    """Note accounts with a figure that is not a number; a reader refuses those before."""
    entry = book.position_entry
    held = ~np.isfinite(book.position_quantity) | np.isinf(entry) | (entry < 0)
    owned = ~np.isfinite(book.balance_amount)
    ordered = ~np.isfinite(book.leg_quantity) | np.isinf(book.leg_price)
    pools = [
        book.position_pool[held],
        book.balance_pool[owned],
        book.order_pool[book.leg_order[ordered]],
    ]
    faults.note(book.pool_account[np.concatenate(pools)], lambda _: not_a_number())


def _note_instruments(frame: Frame, reasons: Reasons) -> None:
    if not reasons:
        return
    book, a = frame.book, frame.arrangement
    held = np.concatenate([book.position_instrument, book.leg_instrument])
    _note(frame, reasons, held, np.concatenate([a.position_pot, a.group_pot[a.leg_group]]))


def _note(frame: Frame, reasons: Reasons, key: Ints, pot: Ints) -> None:
    """Note the accounts of rows whose key has a reason, the lowest key of an account first."""
    if not reasons or not key.size:
        return
    at_fault = np.zeros(max(int(key.max()), max(reasons)) + 1, dtype=np.bool_)
    at_fault[list(reasons)] = True
    rows = np.flatnonzero(at_fault[key])
    rows = rows[np.argsort(key[rows], kind="stable")]
    frame.refuse(pot[rows], lambda row: reasons[int(key[rows[row]])]())


def _needs_rates(ruleset: Ruleset) -> bool:
    """Whether an option cannot be margined without the interest rate to its expiry."""
    rule = None if ruleset.scan is None else ruleset.scan.static_discount
    sides = [] if rule is None else [rule.long, rule.short]
    grows = any(side is not None and side.rate_mult > 0 for side in sides)
    return grows or ruleset.data.discounting != "none"


def _market_columns(
    nobody: Book, ruleset: Ruleset, arranged: Arrangement, view: MarketView, memo: dict[str, Any]
) -> dict[str, Any]:
    whole = Frame(nobody, ruleset, arranged, view, memo=dict(memo))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: getattr(whole, name)
            for name in MARKET_COLUMNS
            if name != "table" or ruleset.scan is not None
        }


def _no_accounts(book: CompactBook) -> Book:
    return CompactBook(
        registry=book.registry,
        ids=[],
        position_start=np.zeros(1, dtype=np.int64),
        position_instrument=book.position_instrument[:0],
        position_quantity=book.position_quantity[:0],
        position_entry=book.position_entry[:0],
        balance_start=np.zeros(1, dtype=np.int64),
        balance_asset=book.balance_asset[:0],
        balance_amount=book.balance_amount[:0],
    ).accounts(0, 0)


# Every account gets an error of its own: where it lies is written into it.


def _copy_of(error: CrossmarginError) -> Callable[[], CrossmarginError]:
    return lambda: type(error)(
        error.message,
        code=error.code,
        instrument=error.instrument,
        field=error.field,
        hint=error.hint,
    )


def _untraded(book: CompactBook, index: int, ruleset: Ruleset) -> Callable[[], CrossmarginError]:
    error = untraded(book.registry, index, ruleset)
    assert error is not None
    return _copy_of(error)


def _raised(ask: Callable[[str], object], name: str) -> CrossmarginError:
    try:
        ask(name)
    except CrossmarginError as error:
        return error
    raise AssertionError(name)


def _price_of(snapshot: Snapshot, name: str) -> Callable[[], CrossmarginError]:
    return _copy_of(_raised(snapshot.asset_usd, name))


def _shocks_of(ask: Callable[[str], object], name: str) -> Callable[[], CrossmarginError]:
    return _copy_of(_raised(ask, name))


def _rate_of(instrument: str, ruleset: Ruleset) -> Callable[[], CrossmarginError]:
    return lambda: missing_rate(instrument, ruleset.id)
