"""Accounts that the kernel does not compute, given to the reference engine."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import join_books, select_accounts
from crossmargin.margin.batch import BookResult, evaluate_book
from crossmargin.margin.components import PegFactor
from crossmargin.margin.live._accounts import Accounts
from crossmargin.margin.live._kernels import BELOW_IM, BELOW_MM, FAILED
from crossmargin.margin.ruleset import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def bits_of(columns: Floats) -> NDArray[np.uint8]:
    """Return the outcome of accounts from their columns.

    Parameters
    ----------
    columns : float64[K, 5]
        Equity, equity at the initial level, IM, MM and health. Of several pots, one that lacks
        initial margin beside another with a surplus does not show.
    """
    bits = np.where(columns[:, 4] < 1.0, BELOW_MM, 0)
    bits |= np.where(columns[:, 1] < columns[:, 2], BELOW_IM, 0)
    bits[np.isnan(columns).any(axis=1)] = FAILED
    return bits.astype(np.uint8)


class Apart:
    """The reference engine beside a live book.

    Parameters
    ----------
    accounts : Accounts
        What everybody holds.
    ruleset : Ruleset
        The rules; where irregular accounts are asked about apart, of components that can be fused.
    """

    def __init__(self, accounts: Accounts, ruleset: Ruleset) -> None:
        self._accounts, self._rules = accounts, ruleset
        self._everybody = {"*", ruleset.data.numeraire}
        self._everybody |= {s.asset for s in ruleset.data.components if isinstance(s, PegFactor)}

    def touched(self, names: Collection[str]) -> Ints:
        """Return the irregular accounts that prices or volatilities of some assets can change.

        An account is touched by what its positions and orders are on, settled and quoted in, by
        the coins it owns, and by the coins whose scenarios these take; ``"*"`` touches all.
        """
        rest, regular = self._accounts.rest, self._accounts.regular
        if rest is None or not names:
            return np.empty(0, dtype=np.int64)
        if self._everybody & set(names):
            return np.arange(regular, regular + rest.size)
        alias = self._rules.data.groups
        assets = rest.registry.assets
        moved = np.array([a in names or alias.get(a, a) in names for a in assets], dtype=bool)
        terms = rest.registry.terms
        item = moved[terms.underlying] | moved[terms.settlement] | moved[terms.quote]
        hit = np.zeros(rest.size, dtype=bool)
        hit[rest.pool_account[rest.position_pool[item[rest.position_instrument]]]] = True
        legs = rest.order_pool[rest.leg_order[item[rest.leg_instrument]]]
        hit[rest.pool_account[legs]] = True
        hit[rest.pool_account[rest.balance_pool[moved[rest.balance_asset]]]] = True
        return regular + np.flatnonzero(hit)

    def evaluate(self, accounts: Ints, snapshot: Snapshot) -> BookResult:
        """Compute some accounts, in the order asked for."""
        rest, regular = self._accounts.rest, self._accounts.regular
        some = self._accounts.some(accounts[accounts < regular].tolist())
        book = some.accounts(0, some.regular) if some.regular else None
        others = accounts[accounts >= regular] - regular
        if others.size and rest is not None:
            chosen = select_accounts(rest, others)
            book = chosen if book is None else join_books(book, chosen)
        assert book is not None
        return evaluate_book(book, snapshot, self._rules, kernel="numba")
