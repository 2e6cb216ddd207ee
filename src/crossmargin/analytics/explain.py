r"""Why the margin is not what it was yesterday: positions, price, vol, time, parameters, money.

Six things can have changed. The requirement is computed in all :math:`2^6` mixtures of yesterday
and today, everything revalued in each, and the change is shared by the Shapley value: what each
adds, averaged over all orders in which they could have changed,

.. math:: \phi_i = \sum_{S \not\ni i} \frac{|S|!\,(5 - |S|)!}{6!}\,
   \bigl(M(S \cup i) - M(S)\bigr).

No order is preferred, nothing is approximated by a sensitivity, and the six add up to the change.

Source: Shapley, "A value for n-person games" (1953); Shorrocks, "Decomposition procedures for
distributional analysis" (2013) for its use on changes; style-and-ecosystem.md C.8, item 6. What is
counted as which of the six is the house's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.explain_types import (
    CAUSES,
    CausePart,
    ComponentPart,
    Explained,
    PositionMove,
    PriceMove,
)
from crossmargin.book import AccountFile, Book, book_from_accounts
from crossmargin.errors import CrossmarginError, MarketDataError
from crossmargin.instruments import DOLLARS, NO_EXPIRY_NS, Registry, parse_instrument
from crossmargin.margin import (
    Evaluation,
    Ruleset,
    component_lines,
    evaluate,
    evaluate_in,
    parameter_changes,
    prepare,
)
from crossmargin.market import MarketView, Snapshot, missing_prices
from crossmargin.units import format_time, year_fraction

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_WEIGHT = [math.factorial(s) * math.factorial(5 - s) / math.factorial(6) for s in range(6)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An account in its market under its rules."""

    account: AccountFile
    market: Snapshot
    ruleset: Ruleset


def shapley(values: Floats) -> Floats:
    """Share a change among six causes.

    Parameters
    ----------
    values : float64[64, ...]
        By mixture: bit k is set where cause k is today's.

    Returns
    -------
    float64[6, ...]
        Adds up to ``values[63] − values[0]``.
    """
    found = np.zeros((len(CAUSES), *values.shape[1:]))
    for s in range(1 << len(CAUSES)):
        size = s.bit_count()
        for k in range(len(CAUSES)):
            if not s >> k & 1:
                found[k] += _WEIGHT[size] * (values[s | 1 << k] - values[s])
    return found


def explain_change(then: Moment, now: Moment) -> Explained:
    """Share the change of the requirement between two moments among its causes.

    What counts as what: *positions* are quantities, entries, leverage and open orders; *price* is
    of coins, marks, forwards, interest rates, funding, depth and trust; *vol* each option's
    volatility at its strike; *time* the moment of valuation; *parameters* the whole rule-set;
    *collateral and FX* balances and the prices of stablecoins.

    Parameters
    ----------
    then, now : Moment
        Yesterday and today.

    Returns
    -------
    Explained
        With the residual, which is rounding.

    Raises
    ------
    CrossmarginError
        What either moment alone, or a mixture of the two, lacks.

    Notes
    -----
    An instrument that only one market prices takes the other's price moved in proportion to its
    coin's index, and the other's volatility; what was filled in is listed. A contract that has
    expired by today settles, in mixtures with yesterday's prices, at yesterday's index.
    """
    ends = [evaluate(book_from_accounts([m.account]), m.market, m.ruleset) for m in (then, now)]
    mixture = _Mixture(then, now)
    done = [mixture.evaluate(s) for s in range(1 << len(CAUSES))]
    keys = list(dict.fromkeys(key for one in done for key in one[1]))
    totals = np.array([one[0] for one in done])
    parts = np.array([[one[1].get(key, 0.0) for key in keys] for one in done]).reshape(64, -1)
    rest = totals[:, 0] - parts.sum(axis=1)
    share, by_part, by_rest = shapley(totals), shapley(parts), shapley(rest)
    im, mm = [one.im_usd for one in ends], [one.mm_usd for one in ends]
    equity = [float(one.have.im @ one.frame.pot_usd) for one in ends]
    named = [*keys, ("*", "*", "combination, credit and orders")]
    columns = np.column_stack([parts, rest])
    shares = np.column_stack([by_part, by_rest])
    scale = max(1.0, *(abs(x) for x in im))
    return Explained(
        account=now.account.account,
        then=format_time(then.market.moment_ns),
        now=format_time(now.market.moment_ns),
        ruleset_then=then.ruleset.id,
        ruleset_now=now.ruleset.id,
        im_then_usd=im[0],
        im_now_usd=im[1],
        mm_then_usd=mm[0],
        mm_now_usd=mm[1],
        equity_then_usd=equity[0],
        equity_now_usd=equity[1],
        parts=[
            CausePart(
                cause=cause,
                im_usd=float(share[k, 0]),
                mm_usd=float(share[k, 1]),
                equity_im_usd=float(share[k, 2]),
                equity_mm_usd=float(share[k, 3]),
                alone_im_usd=float(totals[1 << k, 0] - totals[0, 0]),
                last_im_usd=float(totals[63, 0] - totals[63 & ~(1 << k), 0]),
            )
            for k, cause in enumerate(CAUSES)
        ],
        components=[
            ComponentPart(
                pot=key[0],
                group=key[1],
                name=key[2],
                then_usd=float(columns[0, c]),
                now_usd=float(columns[63, c]),
                by_cause_usd={cause: float(shares[k, c]) for k, cause in enumerate(CAUSES)},
            )
            for c, key in enumerate(named)
            if float(np.abs(columns[:, c]).max()) > 1e-9 * scale
        ],
        residual_usd=(im[1] - im[0]) - math.fsum(share[:, 0].tolist()),
        positions=_position_moves(then.account, now.account),
        prices=_price_moves(mixture),
        days=(now.market.moment_ns - then.market.moment_ns) / 86_400e9,
        parameters=parameter_changes(then.ruleset, now.ruleset),
        filled=mixture.filled,
        revaluations=len(done),
    )


class _Mixture:
    """Books, rules and markets of both moments over one registry, to be mixed."""

    def __init__(self, then: Moment, now: Moment) -> None:
        registry = Registry()
        both = (then, now)
        self.rulesets = (then.ruleset, now.ruleset)
        self.books: dict[tuple[int, int], Book] = {}
        for p in range(2):
            for c in range(2):
                made = _mixed_account(both[p].account, both[c].account, now.account.account)
                if made is not None:
                    self.books[p, c] = book_from_accounts([made], registry)
        prepare(list(self.books.values()), self.rulesets)
        self.registry = registry
        used = sorted({i for book in self.books.values() for i in book.instruments_used().tolist()})
        self.used = np.array(used, dtype=np.int64)
        self.moments = tuple(m.market.moment_ns for m in both)
        self.filled: list[str] = []
        found = [missing_prices(m.market, registry, used) for m in both]
        self.views = tuple(view for view, _ in found)
        self.priced = []
        for view, missing in found:
            ok = np.zeros(len(registry), dtype=np.bool_)
            ok[self.used] = [i not in missing for i in used]
            self.priced.append(ok & ~np.isnan(view.price_fixed + view.price_variable))
        self._note_filled([missing for _, missing in found])
        names = registry.assets
        self.fx = np.array([name in DOLLARS for name in names])
        self._views: dict[tuple[int, int, int, int], MarketView] = {}

    def _note_filled(self, missing: Sequence[Mapping[int, MarketDataError]]) -> None:
        days = ("yesterday", "today")
        for i in self.used.tolist():
            name = self.registry[i].id
            lacking = [k for k in range(2) if not self.priced[k][i]]
            if len(lacking) == 2:
                raise missing[1].get(i) or missing[0][i]
            if lacking:
                k = lacking[0]
                self.filled.append(
                    f"{name} has no price in the market of {days[k]}: the other's, moved with the "
                    "coin's index, and the other's volatility stand in for it"
                )

    def evaluate(self, s: int) -> tuple[list[float], dict[tuple[str, str, str], float]]:
        """Return IM, MM and both equities of a mixture, and its components by key."""
        p, price, vol, time, rules, money = (s >> k & 1 for k in range(6))
        book = self.books.get((p, money))
        if book is None:
            return [0.0, 0.0, 0.0, 0.0], {}
        view = self._view(price, vol, time, money)
        try:
            done = evaluate_in(book, view, self.rulesets[rules])
        except CrossmarginError as error:
            today = [cause for k, cause in enumerate(CAUSES) if s >> k & 1]
            error.message = (
                f"yesterday with {', '.join(today) or 'nothing'} of today has no margin, and the "
                f"change cannot be shared without it: {error.message}"
            )
            raise error from None
        return _totals(done), {
            (line.pot, line.group, line.name): line.im_usd
            for line in component_lines(done.frame, done.need)
            if line.factor_im is None
        }

    def _view(self, price: int, vol: int, time: int, money: int) -> MarketView:
        key = price, vol, time, money
        if key not in self._views:
            self._views[key] = self._mixed_view(*key)
        return self._views[key]

    def _mixed_view(self, price: int, vol: int, time: int, money: int) -> MarketView:
        terms, base = self.registry.terms, self.views[price]
        asset = np.where(self.fx, self.views[money].asset_usd, base.asset_usd)
        settled, years = self._time(time)
        fixed, variable = base.price_fixed.copy(), base.price_variable.copy()
        other = self.views[1 - price]
        for i in self.used.tolist():
            if not settled[i] and self.priced[price][i] and not base.settled[i]:
                continue
            coin, quote = int(terms.underlying[i]), int(terms.quote[i])
            if settled[i]:
                at = base.price_fixed[i] if self.priced[price][i] and base.settled[i] else None
                if at is None:
                    at = base.asset_usd[coin] / _dollar(base, self.registry, quote)
                fixed[i], variable[i] = at, 0.0
            else:
                ratio = base.asset_usd[coin] / other.asset_usd[coin]
                fixed[i], variable[i] = 0.0, (other.price_fixed + other.price_variable)[i] * ratio
        own, spare = self.views[vol], self.views[1 - vol]
        known = self.priced[vol] & ~own.settled & ~np.isnan(own.vol)
        sigma = np.where(known, own.vol, spare.vol)
        sigma = np.where(settled, 0.0, sigma)
        return replace(
            base,
            as_of_ns=self.moments[time],
            asset_usd=asset,
            price_fixed=fixed,
            price_variable=variable,
            vol=sigma,
            years=years,
            settled=settled,
        )

    def _time(self, time: int) -> tuple[Bools, Floats]:
        """Return what has expired and the years left at one of the moments."""
        terms, own = self.registry.terms, self.views[time]
        dated = terms.expiry_ns != NO_EXPIRY_NS
        left = np.array(
            [year_fraction(self.moments[time], int(e)) for e in terms.expiry_ns], dtype=np.float64
        )
        years = np.where(dated, np.maximum(left, 0.0), np.inf)
        gone = np.where(self.priced[time], own.settled, dated & (left <= 0.0))
        return gone.astype(np.bool_), years


def _dollar(view: MarketView, registry: Registry, asset: int) -> float:
    return 1.0 if registry.assets[asset] == "USD" else float(view.asset_usd[asset])


def _totals(done: Evaluation) -> list[float]:
    usd = done.frame.pot_usd
    return [done.im_usd, done.mm_usd, float(done.have.im @ usd), float(done.have.mm @ usd)]


def _mixed_account(positions: AccountFile, balances: AccountFile, name: str) -> AccountFile | None:
    """Return the positions and orders of one account with the balances of another."""
    if not (balances.balances or positions.positions or positions.orders or positions.quote_groups):
        return None
    known = {pool.id for pool in positions.pools}
    return msgspec.structs.replace(
        positions,
        account=name,
        owner=None,
        pools=[*positions.pools, *(pool for pool in balances.pools if pool.id not in known)],
        balances=balances.balances,
    )


def _held(account: AccountFile) -> dict[tuple[str, str, str], float]:
    held: dict[tuple[str, str, str], float] = {}
    for row in account.positions:
        key = (parse_instrument(row.instrument).id, row.pool, row.leg)
        held[key] = held.get(key, 0.0) + float(row.quantity)
    return held


def _position_moves(then: AccountFile, now: AccountFile) -> list[PositionMove]:
    old, new = _held(then), _held(now)
    return [
        PositionMove(
            instrument=key[0],
            pool=key[1],
            leg=key[2],
            then=old.get(key, 0.0),
            now=new.get(key, 0.0),
        )
        for key in dict.fromkeys([*old, *new])
        if old.get(key, 0.0) != new.get(key, 0.0)
    ]


def _price_moves(mixture: _Mixture) -> list[PriceMove]:
    old, new = (view.asset_usd for view in mixture.views)
    return [
        PriceMove(asset=name, then_usd=float(old[a]), now_usd=float(new[a]))
        for a, name in enumerate(mixture.registry.assets)
        if not (np.isnan(old[a]) or np.isnan(new[a])) and old[a] != new[a]
    ]
