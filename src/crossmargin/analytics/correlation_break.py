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
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import normal_var_es
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
    value_at_risk,
)

Floats = NDArray[np.float64]

_STEP = 1e-4


class BreakLine(msgspec.Struct, frozen=True, kw_only=True):
    """An account under one correlation, US dollars.

    Attributes
    ----------
    name, title : str
        ``base``, ``low``, ``high`` or ``pairs``, and what it is.
    correlation : list of list of float
        Between the coins.
    sigma_usd, es_normal_usd : float
        From deltas and a normal law.
    es_usd, es_error_usd : float
        Risk margin with the t copula, and its standard error.
    es_gauss_usd : float
        The same draws without tail dependence.
    shock_usd : float
        Loss of the worst joint move of so many standard deviations.
    shock : dict of str to float
        That move, relative, by coin.
    collateral_usd : float
        Mean loss of the collateral where the rest loses its worst.
    """

    name: str
    title: str
    correlation: list[list[float]]
    sigma_usd: float
    es_normal_usd: float
    es_usd: float
    es_error_usd: float
    es_gauss_usd: float
    shock_usd: float
    shock: dict[str, float]
    collateral_usd: float


class RhoPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The margin with one correlation between all coins, US dollars.

    Attributes
    ----------
    correlation : float
        Of every pair.
    sigma_usd, es_normal_usd, es_usd, es_gauss_usd : float
        As in :class:`BreakLine`.
    im_usd : float or None
        Initial margin of a rule-set that looks back, its scenarios brought to this correlation;
        None for other rule-sets, whose margin does not know a correlation.
    """

    correlation: float
    sigma_usd: float
    es_normal_usd: float
    es_usd: float
    es_gauss_usd: float
    im_usd: float | None = None


class WrongWay(msgspec.Struct, frozen=True, kw_only=True):
    """One asset held as collateral, US dollars.

    Attributes
    ----------
    asset : str
        What is held.
    value_usd : float
        At market.
    alone_usd : float
        Expected shortfall of what is held alone.
    base_usd, worst_usd : float
        Mean loss where positions and debts lose their worst: base correlation, and the stress
        chosen.
    share : float or None
        `worst_usd` over `alone_usd`; None where the asset does not move.
    """

    asset: str
    value_usd: float
    alone_usd: float
    base_usd: float
    worst_usd: float
    share: float | None


class CorrelationBreak(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's margin owes to the correlation that is believed.

    Attributes
    ----------
    account, ruleset : str
        Whose, by which rules.
    coins : list of str
        In the order of the matrices.
    sigma, delta_usd : dict of str to float
        Standard deviation over the horizon; change of equity at market for each coin moving by its
        own size.
    tail_dependence : list of list of float
        λ of each pair at the base correlation.
    degrees : float or None
        ν of the copula; None for a Gaussian one.
    degrees_low, degrees_high : float or None
        95 % likelihood interval of a fitted ν.
    gaussian_refused : bool or None
        Whether the sample refuses a Gaussian copula at 5 %; None without a fit.
    lines : list of BreakLine
        Base first.
    worst : str
        Name of the line with the largest risk margin.
    curve : list of RhoPoint
        Rising correlation; empty with fewer than two coins.
    collateral : list of WrongWay
        The largest share first.
    equity_usd, im_usd : float
        Equity at market and the rule-set's own initial margin.
    level, days, sigmas : float
        Confidence, horizon, and size of the joint shock.
    draws, seed : int
        Of the simulation.
    source : str
        Where the moves are from.
    """

    account: str
    ruleset: str
    coins: list[str]
    sigma: dict[str, float]
    delta_usd: dict[str, float]
    tail_dependence: list[list[float]]
    degrees: float | None
    degrees_low: float | None = None
    degrees_high: float | None = None
    gaussian_refused: bool | None = None
    lines: list[BreakLine]
    worst: str
    curve: list[RhoPoint]
    collateral: list[WrongWay]
    equity_usd: float
    im_usd: float
    level: float
    days: float
    sigmas: float
    draws: int
    seed: int
    source: str = ""

    def line(self, name: str) -> BreakLine:
        """Return one of the lines."""
        return next(one for one in self.lines if one.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakSpec:
    """What is asked.

    Attributes
    ----------
    low, high : float
        Ends of the correlation.
    level, days : float
        Confidence and horizon of the risk margin.
    sigmas : float
        Size of the joint shock.
    draws, seed, points : int
        Joint moves drawn, their seed, points of the curve.
    """

    low: float = 0.3
    high: float = 1.0
    level: float = 0.99
    days: float = 1.0
    sigmas: float = 3.0
    draws: int = 10_000
    seed: int = 20260203
    points: int = 15

    def __post_init__(self) -> None:
        """Refuse what is no question."""
        for name, fine, hint in (
            ("low", -1.0 <= self.low <= self.high <= 1.0, "ends between −1 and 1, low below high"),
            ("level", 0.5 < self.level < 1.0, "a confidence such as 0.99"),
            ("days", 0.0 < self.days <= 60.0, "a horizon of at most 60 days"),
            ("sigmas", 0.0 <= self.sigmas <= 20.0, "between 0 and 20 standard deviations"),
            (
                "draws",
                self.draws * (1.0 - self.level) >= 10.0 and self.draws <= 1_000_000,
                "at least ten draws in the tail, at most a million",
            ),
            ("points", 2 <= self.points <= 101, "between 2 and 101"),
            ("seed", 0 <= self.seed < 1 << 63, "a whole number of at least 0"),
        ):
            if not fine:
                raise MarginError(
                    f"{name} is {getattr(self, name):g}", code="MRG-025", field=name, hint=hint
                )


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
        line = value_at_risk(rest, self.spec.level)
        if line <= 0.0:
            return np.zeros(owned.shape[0])
        return np.asarray(owned[:, rest >= line].mean(axis=1))

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
            figures[1] += expected_shortfall(tails[0][1][row], self.spec.level)
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
