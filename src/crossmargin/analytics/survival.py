"""Survival on common paths: which mode is liquidated when, and how often by leverage.

The same joint paths of all coins go to every rule-set (one pot, or every position fenced) or to
every leverage, so that what differs is the mode and not the luck. A path ends for a rule-set at the
first step at which a pot stands below its line; between steps nobody looks.

Source: requirements A00 (liquidations avoided = count(isolated) − count(cross) over the same
paths), A15 (survival by mode), A19 (P(liquidation) over leverage on fixed common paths).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import RiskModel
from crossmargin.book import AccountFile
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.margin import CarriedAccount, Ruleset
from crossmargin.market import Snapshot
from crossmargin.stats import generator

Floats = NDArray[np.float64]

#: Beyond this a leverage is a slip of the finger, not a question.
_MOST_LEVERAGE = 1e6

#: Paths × steps at most: each is a revaluation of the account.
MOST_LOOKS = 2_000_000


class Survival(msgspec.Struct, frozen=True, kw_only=True):
    """One account on common paths.

    Attributes
    ----------
    name : str
        Rule-set, or leverage.
    alive : list of float
        Share of paths without a liquidation after each step, the start first.
    liquidated : int
        Paths with a liquidation.
    paths, steps : int
        Of how many, over how many steps.
    refused : int
        Paths that ended where the rule-set has no figure; counted as liquidated.
    """

    name: str
    alive: list[float]
    liquidated: int
    paths: int
    steps: int
    refused: int

    @property
    def p_liquidation(self) -> float:
        """Share of paths with a liquidation."""
        return self.liquidated / self.paths

    @property
    def p_error(self) -> float:
        """Standard error of that share; 0 where none or all are, see :attr:`p_bound`."""
        p = self.p_liquidation
        return math.sqrt(p * (1.0 - p) / self.paths)

    @property
    def p_bound(self) -> float:
        """Upper end of the exact one-sided 95 % interval of the probability (Clopper-Pearson)."""
        from scipy.special import betaincinv

        if self.liquidated == self.paths:
            return 1.0
        return float(betaincinv(self.liquidated + 1, self.paths - self.liquidated, 0.95))

    def step_of(self, share: float) -> int | None:
        """Return the first step by which that share of paths was liquidated; None if never."""
        for step, alive in enumerate(self.alive):
            if 1.0 - alive >= share - 1e-12:
                return step
        return None


def common_paths(
    model: RiskModel, coins: Sequence[str], *, steps: int, paths: int, seed: int
) -> dict[str, Floats]:
    """Draw joint lognormal paths without drift.

    Parameters
    ----------
    model : RiskModel
        Standard deviations of one step, and correlations.
    coins : sequence of str
        What moves.
    steps, paths, seed : int
        Size and seed.

    Returns
    -------
    dict of str to float64[paths, steps]
        Logarithm of each coin's price over today's, after each step.
    """
    if not (steps >= 1 and paths >= 1 and steps * paths <= MOST_LOOKS and coins):
        raise MarginError(
            f"{paths} paths of {steps} steps over {len(coins)} coins",
            code="MRG-025",
            field="paths",
            hint=f"at least one of each, and at most {MOST_LOOKS:,} looks",
        )
    drawn = generator(seed).standard_normal((paths, len(coins), steps))
    moves = np.einsum("cd,pdt->pct", model.root(coins), drawn)
    sigma = np.array([model.sigma[coin] for coin in coins])
    steps_log = moves - 0.5 * (sigma * sigma)[None, :, None]
    walked = np.cumsum(steps_log, axis=2)
    return {coin: walked[:, k] for k, coin in enumerate(coins)}


def survival(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    paths: Mapping[str, Floats],
    *,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Survival:
    """Walk an account along given paths and say when it is liquidated.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today; pledged margin stays as pledged.
    paths : mapping of str to float64[P, T]
        Logarithm of each coin's price over today's; coins that are not there stand still.
    name : str, optional
        What it is called; default the rule-set's id.
    progress : callable, optional
        Called with 1 after every path.
    """
    carried = CarriedAccount(account, snapshot, ruleset)
    known = set(carried.drivers.values())
    used = {coin: np.asarray(path, dtype=np.float64) for coin, path in paths.items()}
    mine = {coin: path for coin, path in used.items() if coin in known}
    shapes = {path.shape for path in used.values()}
    if len(shapes) != 1:
        raise MarginError("paths are of one size for every coin", code="MRG-025", field="paths")
    count, steps = shapes.pop()
    died = np.zeros(steps + 1, dtype=np.int64)
    refused = 0
    if float(carried.excess({}).min(initial=np.inf)) < 0:
        died[0] = count
    for p in range(count if died[0] == 0 else 0):
        for t in range(steps):
            try:
                low = carried.excess({coin: float(path[p, t]) for coin, path in mine.items()})
                gone = bool((low < 0).any())
            except CrossmarginError:
                gone, refused = True, refused + 1
            if gone:
                died[t + 1] += 1
                break
        if progress is not None:
            progress(1)
    left = count - np.cumsum(died)
    return Survival(
        name=name or ruleset.id,
        alive=(left / count).tolist(),
        liquidated=int(died.sum()),
        paths=count,
        steps=steps,
        refused=refused,
    )


def liquidations_avoided(isolated: Survival, cross: Survival) -> int:
    """Return how many more of the same paths liquidate the first than the second."""
    if (isolated.paths, isolated.steps) != (cross.paths, cross.steps):
        raise MarginError(
            "liquidations are compared on the same paths", code="MRG-025", field="paths"
        )
    return isolated.liquidated - cross.liquidated


def leverage_curve(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    paths: Mapping[str, Floats],
    leverages: Sequence[float],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Survival]:
    """Scale an account's positions to several leverages and walk each along the same paths.

    Parameters
    ----------
    account, snapshot, ruleset, paths
        As for :func:`survival`; the account must hold positions.
    leverages : sequence of float
        Gross notional over equity at the maintenance level today, positive.
    progress : callable, optional
        Called with 1 after every path.
    """
    carried = CarriedAccount(account, snapshot, ruleset)
    done, frame = carried.evaluation(carried.frame), carried.frame
    book, settle = frame.book, frame.terms.settlement
    rate = frame.asset_usd_or_one[settle[book.position_instrument]]
    notional = frame.notional(book.position_instrument, book.position_quantity) * rate
    equity = float(done.have.mm @ frame.pot_usd)
    gross = float(notional.sum())
    if not (equity > 0 and gross > 0):
        raise MarginError(
            "leverages need an account with equity and positions",
            code="MRG-025",
            account=account.account,
            field="leverages",
        )
    for leverage in leverages:
        if not 0 < leverage < _MOST_LEVERAGE:
            raise MarginError(
                f"a leverage of {leverage:g}",
                code="MRG-025",
                account=account.account,
                field="leverages",
                hint=f"above 0 and below {_MOST_LEVERAGE:,.0f}",
            )
    found = []
    for leverage in leverages:
        times = leverage * equity / gross
        positions = [
            msgspec.structs.replace(row, quantity=float(row.quantity) * times)
            for row in account.positions
        ]
        scaled = msgspec.structs.replace(account, positions=positions, orders=[], quote_groups=[])
        made = survival(scaled, snapshot, ruleset, paths, name=f"{leverage:g}×", progress=progress)
        found.append(made)
    return found
