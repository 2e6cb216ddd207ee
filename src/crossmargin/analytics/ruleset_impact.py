"""What a change of rules does to a book before it takes effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.book_summary import failure_rows, lowest
from crossmargin.analytics.book_summary_types import BookTotals, FailureRow
from crossmargin.book import CompactBook
from crossmargin.margin import (
    ACCOUNT_STATES,
    BookColumns,
    ParameterChange,
    Ruleset,
    account_states,
    parameter_changes,
)
from crossmargin.market import Snapshot
from crossmargin.units import format_time

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Quantiles of the change over accounts.
_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two rule-sets.

    Attributes
    ----------
    overrides : list of str
        Parameters supplied with the call.
    """

    id: str
    title: str
    venue: str
    effective_from: str
    effective_to: str | None
    hash: str
    overrides: list[str]


class RulesetDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Two rule-sets side by side, and what the step from one to the other does to a book.

    Attributes
    ----------
    before, after : Side
        The two.
    changes : list of ParameterChange
        Parameters that differ.
    impact : BookImpact or None
        None where no book was given.
    """

    format: Literal["crossmargin-ruleset-diff/1"] = "crossmargin-ruleset-diff/1"
    before: Side
    after: Side
    changes: list[ParameterChange]
    impact: BookImpact | None = None


class ComponentChange(msgspec.Struct, frozen=True, kw_only=True):
    """One component over all accounts, before the rule-set combines them; US dollars.

    None where the rule-set has no such component.
    """

    name: str
    im_before_usd: float | None
    im_after_usd: float | None
    mm_before_usd: float | None
    mm_after_usd: float | None


class Crossings(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts on either side of one line, before and after.

    Attributes
    ----------
    line : {"IM", "MM"}
        ``IM``: in the state reduce-only or worse. ``MM``: may be liquidated, by the line that each
        rule-set draws.
    before, after : int
        Accounts below it.
    newly, no_longer : int
        That fall below, and that rise above.
    """

    line: Literal["IM", "MM"]
    before: int
    after: int
    newly: int
    no_longer: int


class Quantile(msgspec.Struct, frozen=True, kw_only=True):
    """One quantile of the change over accounts.

    Attributes
    ----------
    share : float
        0 the least, 0.5 the median, 1 the most.
    im_change_usd, mm_change_usd : float
        US dollars.
    im_change_rel : float or None
        As a share of the initial margin before, over accounts that owe some.
    """

    share: float
    im_change_usd: float
    mm_change_usd: float
    im_change_rel: float | None


class ChangedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account before and after; US dollars."""

    account: str
    equity_usd: float
    im_before_usd: float
    im_after_usd: float
    mm_before_usd: float
    mm_after_usd: float
    health_before: float | None
    health_after: float | None
    state_before: str
    state_after: str


class BookImpact(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of rules does to a book in one market.

    Attributes
    ----------
    compared : int
        Accounts that both rule-sets can compute; totals, crossings and quantiles are over them.
    rejected : int
        Accounts that were set aside when the book was read; in `accounts`.
    worst : list of ChangedAccount
        The largest rise of initial margin first.
    newly_liquidated : list of ChangedAccount
        Accounts newly below MM, the lowest health first; at most as many as `worst`.
    failed_before, failed_after : list of FailureRow
        Accounts that one of the rule-sets refuses.
    lost, gained : int
        Accounts that only the first, and only the second, can compute.
    """

    market: str
    as_of: str
    at: str
    accounts: int
    rejected: int
    compared: int
    totals_before: BookTotals
    totals_after: BookTotals
    components: list[ComponentChange]
    crossings: list[Crossings]
    quantiles: list[Quantile]
    rises: int
    falls: int
    worst: list[ChangedAccount]
    newly_liquidated: list[ChangedAccount]
    lost: int
    gained: int
    failed_before: list[FailureRow]
    failed_after: list[FailureRow]


def diff_rulesets(before: Ruleset, after: Ruleset, impact: BookImpact | None = None) -> RulesetDiff:
    """Return what differs between two rule-sets, with its effect where that was computed."""
    return RulesetDiff(
        before=_side(before),
        after=_side(after),
        changes=parameter_changes(before, after),
        impact=impact,
    )


def _side(rules: Ruleset) -> Side:
    return Side(
        id=rules.id,
        title=rules.data.title,
        venue=rules.data.venue,
        effective_from=rules.data.effective_from,
        effective_to=rules.data.effective_to,
        hash=rules.content_hash,
        overrides=list(rules.overrides),
    )


def book_impact(
    book: CompactBook,
    snapshot: Snapshot,
    before: tuple[Ruleset, BookColumns],
    after: tuple[Ruleset, BookColumns],
    *,
    market: str = "",
    rejected: int = 0,
    top: int = 100,
) -> BookImpact:
    """Compare a book margined under two rule-sets in one market.

    Parameters
    ----------
    book : CompactBook
        The accounts.
    snapshot : Snapshot
        The market both were computed in.
    before, after : (Ruleset, BookColumns)
        The rules and the result, accounts in the book's order.
    market : str
        The market's name, for people.
    rejected : int
        Accounts that were set aside when the book was read.
    top : int
        How many accounts the lists hold at most.
    """
    (rules_a, a), (rules_b, b) = before, after
    known_a, known_b = ~np.isnan(a.health), ~np.isnan(b.health)
    both = known_a & known_b
    sides = _Sides(book, a, b, account_states(a, rules_a), account_states(b, rules_b))
    under_a, under_b = sides.below("liquidation", both)
    rise = np.where(both, b.im - a.im, np.nan)
    weak = np.where(under_b & ~under_a, b.health, np.nan)
    return BookImpact(
        market=market,
        as_of=format_time(snapshot.as_of_ns),
        at=format_time(snapshot.moment_ns),
        accounts=book.size + rejected,
        rejected=rejected,
        compared=int(both.sum()),
        totals_before=_totals(a, both),
        totals_after=_totals(b, both),
        components=_components(a, b),
        crossings=[
            _crossings("IM", *sides.below("reduce-only", both)),
            _crossings("MM", under_a, under_b),
        ],
        quantiles=_quantiles(a, b, both),
        rises=int((rise > 0).sum()),
        falls=int((rise < 0).sum()),
        worst=sides.rows(lowest(np.where(rise > 0, -rise, np.nan), top)),
        newly_liquidated=sides.rows(lowest(weak, top)),
        lost=int((known_a & ~known_b).sum()),
        gained=int((known_b & ~known_a).sum()),
        failed_before=failure_rows(a.failures),
        failed_after=failure_rows(b.failures),
    )


class _Sides:
    """Makes rows of accounts before and after."""

    def __init__(
        self,
        book: CompactBook,
        a: BookColumns,
        b: BookColumns,
        state_a: NDArray[np.int8],
        state_b: NDArray[np.int8],
    ) -> None:
        self._book, self._a, self._b = book, a, b
        self._state_a, self._state_b = state_a, state_b

    def below(self, state: str, both: Flags) -> tuple[Flags, Flags]:
        """Accounts in a state or a worse one, on prices that are trusted, before and after."""
        first, last = ACCOUNT_STATES.index(state), ACCOUNT_STATES.index("bankrupt")
        a, b = ((s >= first) & (s <= last) & both for s in (self._state_a, self._state_b))
        return a, b

    def rows(self, places: NDArray[np.int64]) -> list[ChangedAccount]:
        a, b = self._a, self._b
        return [
            ChangedAccount(
                account=self._book.name(k),
                equity_usd=float(b.equity[k]),
                im_before_usd=float(a.im[k]),
                im_after_usd=float(b.im[k]),
                mm_before_usd=float(a.mm[k]),
                mm_after_usd=float(b.mm[k]),
                health_before=_finite(a.health[k]),
                health_after=_finite(b.health[k]),
                state_before=ACCOUNT_STATES[self._state_a[k]],
                state_after=ACCOUNT_STATES[self._state_b[k]],
            )
            for k in map(int, places)
        ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _totals(columns: BookColumns, both: Flags) -> BookTotals:
    return BookTotals(
        equity_usd=float(columns.equity[both].sum()),
        equity_im_usd=float(columns.equity_im[both].sum()),
        im_usd=float(columns.im[both].sum()),
        mm_usd=float(columns.mm[both].sum()),
    )


def _components(a: BookColumns, b: BookColumns) -> list[ComponentChange]:
    none = (None, None)
    names = [*b.components, *(name for name in a.components if name not in b.components)]
    out = []
    for name in names:
        old, new = a.components.get(name, none), b.components.get(name, none)
        out.append(
            ComponentChange(
                name=name,
                im_before_usd=old[0],
                im_after_usd=new[0],
                mm_before_usd=old[1],
                mm_after_usd=new[1],
            )
        )
    return out


def _crossings(line: Literal["IM", "MM"], before: Flags, after: Flags) -> Crossings:
    return Crossings(
        line=line,
        before=int(before.sum()),
        after=int(after.sum()),
        newly=int((after & ~before).sum()),
        no_longer=int((before & ~after).sum()),
    )


def _quantiles(a: BookColumns, b: BookColumns, both: Flags) -> list[Quantile]:
    if not both.any():
        return []
    im, mm = b.im[both] - a.im[both], b.mm[both] - a.mm[both]
    owing = a.im[both] > 0
    rel: Sequence[float | None] = [None] * len(_QUANTILES)
    if owing.any():
        rel = [float(x) for x in np.quantile(im[owing] / a.im[both][owing], _QUANTILES)]
    return [
        Quantile(share=share, im_change_usd=float(i), mm_change_usd=float(m), im_change_rel=r)
        for share, i, m, r in zip(
            _QUANTILES, np.quantile(im, _QUANTILES), np.quantile(mm, _QUANTILES), rel
        )
    ]
