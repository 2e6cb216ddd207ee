r"""When correlations break: the end that hurts, extremes that come together, collateral that falls.

For a base correlation and for three stresses of it (all pairs low, all pairs high, each pair at the
end that hurts this book) the account is revalued in joint moves drawn with a t copula. The stress
with the largest expected shortfall is the account's own: nobody tells it which way the book leans.

*Risk margin*: expected shortfall of the loss at market at a confidence over a horizon, everything
revalued, volatility held. Beside it the same under a Gaussian copula (what tail dependence adds)
and the normal figure from deltas, ``σ·φ(z)/(1 − α)``.

*Joint shock*: the worst single move of a number of standard deviations, along ±Σ·delta and both
ways along every principal axis.

*Wrong-way risk*: what the collateral loses on average in those draws in which positions and owed
balances lose their worst 1 − α, over what it would lose in its own worst draws. 1: it falls exactly
when it is needed; 0: it does not care; below 0: it rises (right way).

Source: requirements B16, A07 (rows' numbers are tests); clearing-practice §4.1 (collateral stressed
jointly with positions) and §1.6 (dependence forced to its ends). The three stresses, and the share
as a measure of wrong-way risk, are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import normal_var_es
from crossmargin.analytics.correlation_break_types import (
    BreakLine,
    BreakSpec,
    CorrelationBreak,
    RhoPoint,
    WrongWay,
)
from crossmargin.analytics.dependence import Dependence
from crossmargin.analytics.efficiency import scenario_losses
from crossmargin.analytics.stress import hurtful_correlation, joint_directions, market_value
from crossmargin.book import AccountFile, Book
from crossmargin.errors import MarginError
from crossmargin.margin import CarriedAccount, Frame, Ruleset, evaluate
from crossmargin.market import Snapshot
from crossmargin.stats import (
    expected_shortfall,
    expected_shortfall_error,
    tail_dependence,
    tail_weights,
)

Floats = NDArray[np.float64]

_STEP = 1e-4


def correlation_break(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    base: Dependence,
    spec: BreakSpec | None = None,
) -> CorrelationBreak:
    """Stress the correlation behind an account's risk, and keep what hurts it.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    base : Dependence
        Of all coins that move the account, over the horizon of `spec`.
    spec : BreakSpec, optional
        What is asked.

    Raises
    ------
    MarginError
        ``MRG-025`` where nothing moves the account, or a correlation that not all coins can have.
    """
    asked = spec or BreakSpec()
    carried = CarriedAccount(account, snapshot, ruleset)
    lacking = sorted(set(carried.drivers.values()).difference(base.coins))
    if lacking:
        raise MarginError(
            f"nothing is said of how {lacking[0]} moves", code="MRG-025", field="base",
            hint="measure or assume the dependence of every coin that moves the account",
        )  # fmt: skip
    desk = _Desk(carried.frame, base, asked)
    lines = [desk.line(name, title, rho) for name, title, rho in desk.stresses()]
    worst = max(lines, key=lambda one: one.es_usd)
    done = carried.evaluation(carried.frame)
    fit = base.fit
    return CorrelationBreak(
        account=account.account,
        ruleset=ruleset.id,
        coins=list(base.coins),
        sigma=dict(zip(base.coins, base.sigma.tolist())),
        delta_usd=dict(zip(base.coins, desk.delta.tolist())),
        tail_dependence=tail_dependence(np.clip(base.correlation, -1, 1), base.degrees).tolist(),
        degrees=None if math.isinf(base.degrees) else base.degrees,
        degrees_low=None if fit is None else fit.low,
        degrees_high=None if fit is None else fit.high,
        gaussian_refused=None if fit is None else not fit.gaussian,
        lines=lines,
        worst=worst.name,
        curve=desk.curve(lambda rho: _initial_margin(carried.frame.book, snapshot, ruleset, rho)),
        collateral=desk.collateral(worst),
        equity_usd=market_value(done),
        im_usd=float(done.need_orders.im @ carried.frame.pot_usd),
        level=asked.level,
        days=asked.days,
        sigmas=asked.sigmas,
        draws=asked.draws,
        seed=asked.seed,
        source=base.source,
    )


class _Desk:
    """An account and the dependence that its risk is measured with."""

    def __init__(self, frame: Frame, base: Dependence, spec: BreakSpec) -> None:
        self.frame, self.base, self.spec = frame, base, spec
        size = len(base.coins)
        if size == 0:
            raise MarginError(
                "no coin moves this account", code="MRG-025", field="account",
                hint="a stress of correlations needs a position or a balance in a coin",
            )  # fmt: skip
        if size > 1 and spec.low < -1.0 / (size - 1) - 1e-12:
            raise MarginError(
                f"{size} coins cannot all have a correlation of {spec.low:g}",
                code="MRG-025",
                field="low",
                hint=f"at least {-1.0 / (size - 1):.3g}",
            )
        moved = np.concatenate([np.eye(size), -np.eye(size)], axis=1) * _STEP
        loss = self._loss(moved)
        self.delta = (loss[size:] - loss[:size]) / (2.0 * _STEP)

    def _loss(self, move: Floats) -> Floats:
        position, coin = scenario_losses(self.frame, self.base.coins, move)
        return np.asarray(position.sum(axis=0) + coin.sum(axis=0))

    def _uniform(self, rho: float) -> Floats:
        out = np.full(self.base.correlation.shape, rho)
        np.fill_diagonal(out, 1.0)
        return out

    def stresses(self) -> list[tuple[str, str, Floats]]:
        """Return base, both ends, and each pair where it hurts."""
        found = [("base", "as believed", self.base.correlation)]
        if len(self.base.coins) < 2:
            return found
        low, high = self.spec.low, self.spec.high
        risk = self.delta * self.base.sigma
        pairs = hurtful_correlation(risk, self.base.correlation, low=low, high=high)
        return [
            *found,
            ("low", f"all pairs at {low:g}", self._uniform(low)),
            ("high", f"all pairs at {high:g}", self._uniform(high)),
            ("pairs", "each pair where it hurts", pairs),
        ]

    def _normal(self, rho: Floats) -> tuple[float, float]:
        risk = self.delta * self.base.sigma
        sigma = math.sqrt(max(float(risk @ rho @ risk), 0.0))
        return sigma, normal_var_es(sigma, self.spec.level)[1]

    def _drawn(self, rho: Floats, degrees: float) -> tuple[Floats, Floats]:
        spec = self.spec
        move = self.base.draw(rho, degrees, spec.draws, seed=spec.seed)
        return scenario_losses(self.frame, self.base.coins, move)

    def _shortfall(self, rho: Floats, degrees: float) -> float:
        position, coin = self._drawn(rho, degrees)
        return expected_shortfall(position.sum(axis=0) + coin.sum(axis=0), self.spec.level)

    def line(self, name: str, title: str, rho: Floats) -> BreakLine:
        """Measure the account under one correlation."""
        spec, degrees = self.spec, self.base.degrees
        position, coin = self._drawn(rho, degrees)
        loss = position.sum(axis=0) + coin.sum(axis=0)
        shortfall = expected_shortfall(loss, spec.level)
        gauss = shortfall if math.isinf(degrees) else self._shortfall(rho, math.inf)
        sigma, normal = self._normal(rho)
        shock, move = self._shock(rho)
        owned, owed = self._split(coin)
        falls = self._in_tail(position.sum(axis=0) + owed, owned)
        return BreakLine(
            name=name,
            title=title,
            correlation=rho.tolist(),
            sigma_usd=sigma,
            es_normal_usd=normal,
            es_usd=shortfall,
            es_error_usd=expected_shortfall_error(loss, spec.level),
            es_gauss_usd=gauss,
            shock_usd=shock,
            shock=dict(zip(self.base.coins, move.tolist())),
            collateral_usd=float(falls.sum()),
        )

    def _shock(self, rho: Floats) -> tuple[float, Floats]:
        """Return the largest loss of a joint move of so many standard deviations, and the move."""
        scale = self.base.sigma
        cov = scale[:, None] * rho * scale
        ways = joint_directions(cov, self.delta)
        move = np.maximum(self.spec.sigmas * np.column_stack(ways), -0.95)
        loss = self._loss(move)
        at = int(np.argmax(loss))
        return float(loss[at]), np.asarray(move[:, at])

    def _split(self, coin: Floats) -> tuple[Floats, Floats]:
        """Return losses of what is owned, by balance, and of all that is owed."""
        owned = self.frame.book.balance_amount > 0
        return np.where(owned[:, None], coin, 0.0), coin[~owned].sum(axis=0)

    def _in_tail(self, rest: Floats, owned: Floats) -> Floats:
        """Return the mean loss of each balance in the worst draws of the rest, ``[B]``.

        Without a rest that can lose there is no such draw, and nothing is wrong-way.
        """
        if expected_shortfall(rest, self.spec.level) <= 0.0:
            return np.zeros(owned.shape[0])
        return np.asarray(owned @ tail_weights(-rest[None, :], self.spec.level)[0])

    def curve(self, margin: Callable[[float], float | None]) -> list[RhoPoint]:
        """Return risk margins over the correlation of all pairs, and the rule-set's by `margin`."""
        if len(self.base.coins) < 2:
            return []
        found = []
        for rho in np.linspace(self.spec.low, self.spec.high, self.spec.points).tolist():
            matrix = self._uniform(rho)
            sigma, normal = self._normal(matrix)
            gauss = self._shortfall(matrix, math.inf)
            flat = math.isinf(self.base.degrees)
            found.append(
                RhoPoint(
                    correlation=rho,
                    sigma_usd=sigma,
                    es_normal_usd=normal,
                    es_usd=gauss if flat else self._shortfall(matrix, self.base.degrees),
                    es_gauss_usd=gauss,
                    im_usd=margin(rho),
                )
            )
        return found

    def collateral(self, worst: BreakLine) -> list[WrongWay]:
        """Return what each asset held loses when the rest does."""
        book = self.frame.book
        tails = []
        for rho in (self.base.correlation, np.array(worst.correlation)):
            position, coin = self._drawn(rho, self.base.degrees)
            owned, owed = self._split(coin)
            tails.append((self._in_tail(position.sum(axis=0) + owed, owned), owned))
        found: dict[str, list[float]] = {}
        for row in np.flatnonzero(book.balance_amount > 0).tolist():
            asset = int(book.balance_asset[row])
            figures = found.setdefault(book.registry.assets[asset], [0.0, 0.0, 0.0, 0.0])
            figures[0] += float(book.balance_amount[row] * self.frame.asset_usd_or_one[asset])
            # What one asset loses alone adds up over its balances: they move as one.
            figures[1] += expected_shortfall(tails[1][1][row], self.spec.level)
            figures[2] += float(tails[0][0][row])
            figures[3] += float(tails[1][0][row])
        lines = [
            WrongWay(
                asset=name,
                value_usd=value,
                alone_usd=alone,
                base_usd=base,
                worst_usd=there,
                share=there / alone if alone > 0 else None,
            )
            for name, (value, alone, base, there) in found.items()
        ]
        return sorted(lines, key=lambda one: (one.share is None, -(one.share or 0.0), one.asset))


def _initial_margin(book: Book, snapshot: Snapshot, ruleset: Ruleset, rho: float) -> float | None:
    """Return the margin of a rule-set that looks back, its scenarios brought to a correlation."""
    tail = ruleset.data.tail
    if tail is msgspec.UNSET or tail.rescale == "none":
        return None
    forced = msgspec.structs.replace(tail, correlation=rho)
    data = msgspec.structs.replace(ruleset.data, tail=forced)
    done = evaluate(book, snapshot, replace(ruleset, data=data))
    return float(done.need_orders.im @ done.frame.pot_usd)


def chosen_words(made: CorrelationBreak) -> str:
    """Say which correlation hurts, and by how much."""
    base, worst = made.line("base"), made.line(made.worst)
    if len(made.coins) < 2:
        return "one coin moves this account: there is no correlation to break"
    if worst.name == "base" or base.es_usd <= 0:
        return f"no stress is worse than the correlation believed: {base.es_usd:,.2f} USD"
    return (
        f"the correlation that hurts: {worst.title}, risk margin {worst.es_usd:,.2f} USD, "
        f"{worst.es_usd / base.es_usd:.2f} × the {base.es_usd:,.2f} USD at what is believed"
    )


def hidden_exposures(made: CorrelationBreak, *, from_share: float = 0.5) -> Sequence[WrongWay]:
    """Return collateral that loses at least this share of its own worst when it is needed."""
    return [one for one in made.collateral if (one.share or 0.0) >= from_share]
