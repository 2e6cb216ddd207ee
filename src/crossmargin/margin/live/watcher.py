"""Watching a book under recorded prices with a live book that has trigger prices."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.instruments import KIND_CODE
from crossmargin.margin.components import MEANINGS, StateBand
from crossmargin.margin.live._book import LiveBook
from crossmargin.margin.ruleset import Ruleset
from crossmargin.margin.watch import Breaches
from crossmargin.market import Snapshot

Ints = NDArray[np.int64]

_FROM = MEANINGS.index("liquidation")


class LiveWatcher:
    """Watches a book by computing, at a tick, whom it makes due and who is below the line.

    Parameters
    ----------
    live : LiveBook
        With trigger prices; see :func:`why_not` for what it has to be.

    Notes
    -----
    Says what :class:`~crossmargin.margin.watch.BookWatcher` says, amounts to rounding.
    """

    def __init__(self, live: LiveBook) -> None:
        self.reason = ""
        self._live = live
        self._prices: dict[str, float] = {}
        self._below = np.zeros(live.size, dtype=bool)
        self._first = True

    def tick(self, time_ns: int, prices_usd: Mapping[str, float]) -> Breaches:
        """Take the new prices of some coins; see :class:`~crossmargin.margin.watch.Watcher`."""
        live, found = self._live, self._live.tick(prices_usd)
        self._prices |= {name: float(price) for name, price in prices_usd.items()}
        if self._first:
            self._first, some = False, np.arange(live.size)
        else:
            some = np.unique(
                np.concatenate([found.fallen, found.recovered, found.failed, found.restored])
            )
        failed = live.failed
        was = self._below[some]
        # Who cannot be computed keeps the side it was on.
        now = np.where(failed[some], was, live.below[some])
        self._below[some] = now
        fallen, recovered = some[now & ~was], some[was & ~now]
        mine = live.figures(fallen)
        return Breaches(
            time_ns=time_ns,
            prices_usd=dict(self._prices),
            fallen=fallen,
            equity_usd=mine[:, 0],
            mm_usd=mine[:, 3],
            health=mine[:, 4],
            recovered=recovered,
            below=int(self._below.sum()),
            failed=int(failed.sum()),
        )

    def deficit_usd(self) -> float:
        """Return what accounts below the line lack; see :class:`~crossmargin.margin.Watcher`."""
        figures = self._live.figures(np.flatnonzero(self._below & ~self._live.failed))
        return float(np.maximum(figures[:, 3] - figures[:, 0], 0.0).sum())


def why_not(book: CompactBook, snapshot: Snapshot, ruleset: Ruleset, coins: Collection[str]) -> str:
    """Return why a live book would say something else than margining everybody at each tick.

    Parameters
    ----------
    book, snapshot, ruleset
        What is watched, its positions entered (:func:`~crossmargin.margin._entries.entered`).
    coins : collection of str
        Whose prices are to move.

    Returns
    -------
    str
        A sentence; empty where it would not.
    """
    if not all(_is_mm(band) for band in ruleset.data.states):
        return "the rule-set draws a liquidation line of its own"
    if snapshot.trust is not None:
        return "the market says which prices are trusted"
    terms, names = book.registry.terms, book.registry.assets
    held = book.instruments_used()
    options = held[terms.kind[held] == KIND_CODE["option"]]
    quotes = {names[int(k)] for k in np.unique(terms.quote[options])}
    if quotes & set(coins):
        return "what options are quoted in moves, and surfaces are read at strikes in dollars"
    return ""


def _is_mm(band: StateBand) -> bool:
    """Whether a band liquidates nobody, or whoever is below equity = MM."""
    inclusive = band.at_most is not None or band.at_least is not None
    ratio = band.ratio in ("equity/mm", "mm/equity") and band.line == (1.0, 0.0)
    return MEANINGS.index(band.meaning) < _FROM or (ratio and not inclusive)


__all__ = ["LiveWatcher", "why_not"]
