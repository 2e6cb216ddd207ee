r"""Risk of an account over a short horizon: σ, VaR, ES and the probability of liquidation.

*Parametric*: with d the change of equity for each coin moving by its own size and Σ the covariance
of relative moves, the loss is normal with

.. math:: \sigma = \sqrt{d' \Sigma d},\quad VaR_\alpha = z_\alpha \sigma,\quad
   ES_\alpha = \frac{\varphi(z_\alpha)}{1 - \alpha} \sigma.

*Probability of breach*: the excess of equity over the line is normal likewise, with its own
gradient, because the maintenance margin moves with the mark. Freezing it overstates the answer;
both are given.

*Monte Carlo*: joint normal moves, everything revalued; estimates come with standard errors.

*Correlation*: of the ends of a range of correlations the one with the larger σ is taken. Books with
positions the same way meet it at the high end, hedged books at the low one.

Source: requirements A07 (VaR, ES, probability of breach, with the mark and frozen), B16 (worst of
both ends of the correlation). The normal law is the row's own assumption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.efficiency import scenario_losses, underlying_vol
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.margin import CarriedAccount, sum_by
from crossmargin.market import Snapshot
from crossmargin.stats import expected_shortfall, expected_shortfall_error, generator, value_at_risk

Floats = NDArray[np.float64]

_NORMAL = NormalDist()
_STEP = 1e-4
#: A pot that stays over its line in so many draws in a row, from its worst on, is let alone.
_CALM = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskModel:
    """Joint moves over a horizon.

    Attributes
    ----------
    sigma : dict of str to float
        Standard deviation of each coin's relative move over the horizon.
    correlation : float
        Between any two coins that have none of their own.
    pairs : dict of (str, str) to float
        Correlations of their own.
    horizon_days : float
        What the standard deviations are of, for people.
    """

    sigma: Mapping[str, float]
    correlation: float = 0.8
    pairs: Mapping[tuple[str, str], float] = field(default_factory=dict)
    horizon_days: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no covariance."""
        for name, value in self.sigma.items():
            if not (math.isfinite(value) and 0 < value <= 10):
                raise MarginError(
                    f"the standard deviation of {name} is {value:g}",
                    code="MRG-025",
                    field="sigma",
                    hint="of its relative move, above 0: 0.03 is three per cent",
                )
        for value in (self.correlation, *self.pairs.values()):
            if not -1.0 <= value <= 1.0:
                raise MarginError(
                    f"a correlation of {value:g}", code="MRG-025", field="correlation",
                    hint="between −1 and 1",
                )  # fmt: skip

    def covariance(self, coins: Sequence[str], correlation: float | None = None) -> Floats:
        """Return the covariance of relative moves; one correlation for all pairs where given.

        Raises
        ------
        MarginError
            ``MRG-025`` where a coin has no standard deviation, or the correlations cannot be.
        """
        missing = [coin for coin in coins if coin not in self.sigma]
        if missing:
            raise MarginError(
                f"{missing[0]} has no standard deviation",
                code="MRG-025",
                field="sigma",
                hint=f"give one, for example {missing[0]}=0.04",
            )
        rho = np.full((len(coins), len(coins)), self.correlation)
        if correlation is not None:
            rho[:] = correlation
        else:
            for (a, b), value in self.pairs.items():
                if a in coins and b in coins:
                    i, j = coins.index(a), coins.index(b)
                    rho[i, j] = rho[j, i] = value
        np.fill_diagonal(rho, 1.0)
        if coins and np.linalg.eigvalsh(rho).min() < -1e-9:
            raise MarginError(
                "these correlations cannot all be: the matrix has a negative eigenvalue",
                code="MRG-025",
                field="correlation",
            )
        scale = np.array([self.sigma[coin] for coin in coins])
        return np.asarray(scale[:, None] * rho * scale, dtype=np.float64)

    def root(self, coins: Sequence[str]) -> Floats:
        """Return L, ``[coins, coins]``, with ``L·Lᵀ`` the covariance; it need not be regular."""
        values, axes = np.linalg.eigh(self.covariance(coins))
        return np.asarray(axes * np.sqrt(np.maximum(values, 0.0)))


def default_risk_model(snapshot: Snapshot, coins: Sequence[str]) -> RiskModel:
    """Return daily moves from the market's own volatilities, correlation 0.8 (house)."""
    root = math.sqrt(1.0 / 365.0)
    return RiskModel(sigma={coin: underlying_vol(snapshot, coin) * root for coin in coins})


class ParametricRisk(msgspec.Struct, frozen=True, kw_only=True):
    """Normal risk of an account, US dollars.

    Attributes
    ----------
    delta_usd : dict of str to float
        Change of equity for each coin moving by its own size.
    sigma_usd, var_usd, es_usd : float
        Standard deviation, VaR and ES of the loss.
    confidence : float
        Of VaR and ES.
    p_breach, p_breach_frozen : float
        Probability that a pot is below its line at the horizon: with the line moving with the
        mark, and (too large) with the line as today. The largest over the pots.
    """

    delta_usd: dict[str, float]
    sigma_usd: float
    var_usd: float
    es_usd: float
    confidence: float
    p_breach: float
    p_breach_frozen: float


def normal_var_es(sigma_usd: float, confidence: float) -> tuple[float, float]:
    """Return VaR and ES of a normal loss without drift.

    Raises
    ------
    MarginError
        ``MRG-025`` for a confidence that is not between 0 and 1, both excluded.
    """
    if not 0.0 < confidence < 1.0:
        raise MarginError(
            f"a confidence of {confidence:g}", code="MRG-025", field="confidence",
            hint="between 0 and 1: 0.99",
        )  # fmt: skip
    z = _NORMAL.inv_cdf(confidence)
    return z * sigma_usd, _NORMAL.pdf(z) / (1.0 - confidence) * sigma_usd


def parametric_risk(
    account: CarriedAccount, model: RiskModel, *, confidence: float = 0.99
) -> ParametricRisk:
    """Compute the normal risk of an account from its sensitivities.

    Parameters
    ----------
    account : CarriedAccount
        The account today.
    model : RiskModel
        With a standard deviation for every coin that moves the account.
    confidence : float
        Of VaR and ES.
    """
    coins = sorted(set(account.drivers.values()))
    cov = model.covariance(coins)
    ends = [[_ends(account, coin, move) for move in (_STEP, -_STEP)] for coin in coins]
    # A pot that requires nothing has an infinite excess at both ends; `_largest` leaves it out.
    with np.errstate(invalid="ignore"):
        slopes = [
            np.array([(up[k] - down[k]) / (2.0 * _STEP) for up, down in ends]) for k in range(3)
        ]
    value, excess, equity = slopes
    sigma = math.sqrt(max(float(value @ cov @ value), 0.0)) if coins else 0.0
    base = account.excess({})
    var, es = normal_var_es(sigma, confidence)
    return ParametricRisk(
        delta_usd=dict(zip(coins, value.tolist())),
        sigma_usd=sigma,
        var_usd=var,
        es_usd=es,
        confidence=confidence,
        p_breach=_largest(base, excess, cov),
        p_breach_frozen=_largest(base, equity, cov),
    )


def _ends(account: CarriedAccount, coin: str, move: float) -> tuple[float, Floats, Floats]:
    """Return value at market, excess and equity by pot with one coin moved."""
    there = account.moved({coin: math.log1p(move)})
    done = account.evaluation(there)
    have, usd = done.have, there.pot_usd
    value = float((have.balances + have.unrealised + have.option_value) @ usd)
    return value, account.excess_of(there), have.mm * usd


def _largest(base: Floats, slope: Floats, cov: Floats) -> float:
    """Largest probability over the pots that base + slope·move is below 0."""
    if not slope.size:
        return float((base < 0).any())
    found = 0.0
    for pot, start in enumerate(base.tolist()):
        if math.isinf(start):
            continue
        along = slope[:, pot]
        spread = math.sqrt(max(float(along @ cov @ along), 0.0))
        p = float(start < 0) if spread == 0 else _NORMAL.cdf(-start / spread)
        found = max(found, p)
    return found


class SimulatedRisk(msgspec.Struct, frozen=True, kw_only=True):
    """Monte Carlo risk of an account, US dollars, with standard errors.

    Attributes
    ----------
    draws, seed : int
        Joint moves drawn, and the seed.
    sigma_usd, var_usd, es_usd : float
        Standard deviation, VaR and ES of the loss at market.
    sigma_error_usd, es_error_usd : float
        Standard errors.
    p_breach, p_breach_error : float
        Share of draws with a pot below its line, everything revalued, and its standard error.
    revalued : int
        Draws whose line was evaluated: for each pot from its own largest loss on, until 500 in a
        row left it over its line.
    refused : int
        Draws in which the rule-set has no figure; counted as breaches.
    """

    draws: int
    seed: int
    sigma_usd: float
    sigma_error_usd: float
    var_usd: float
    es_usd: float
    es_error_usd: float
    p_breach: float
    p_breach_error: float
    revalued: int
    refused: int


def simulated_risk(
    account: CarriedAccount,
    model: RiskModel,
    *,
    draws: int = 20_000,
    seed: int = 20260203,
    confidence: float = 0.99,
) -> SimulatedRisk:
    """Draw joint normal moves and revalue the account in each.

    Parameters
    ----------
    account : CarriedAccount
        The account today.
    model : RiskModel
        Moves over the horizon; a price cannot fall by more than 99 %.
    draws, seed : int
        Number of draws and the generator's seed.
    confidence : float
        Of VaR and ES.
    """
    coins = sorted(set(account.drivers.values()))
    if not (coins and draws * (1.0 - confidence) >= 1.0):
        raise MarginError(
            f"{draws} draws over {len(coins)} coins", code="MRG-025", field="draws",
            hint="at least one coin, and at least one draw in the tail",
        )  # fmt: skip
    move = normal_moves(model, coins, draws, seed)
    position, coin = scenario_losses(account.frame, coins, move)
    loss = position.sum(axis=0) + coin.sum(axis=0)
    below, refused = _below_the_line(account, coins, move, position, coin)
    revalued, breached = len(below), sum(map(bool, below.values()))
    p = breached / draws
    sigma = float(loss.std(ddof=1))
    fourth = float(((loss - loss.mean()) ** 4).mean())
    return SimulatedRisk(
        draws=draws,
        seed=seed,
        sigma_usd=sigma,
        sigma_error_usd=math.sqrt(max(fourth - sigma**4, 0.0) / draws) / (2.0 * sigma)
        if sigma > 0
        else 0.0,
        var_usd=value_at_risk(loss, confidence),
        es_usd=expected_shortfall(loss, confidence),
        es_error_usd=expected_shortfall_error(loss, confidence),
        p_breach=p,
        p_breach_error=math.sqrt(p * (1.0 - p) / draws),
        revalued=revalued,
        refused=refused,
    )


def normal_moves(model: RiskModel, coins: Sequence[str], draws: int, seed: int) -> Floats:
    """Draw joint normal relative moves, ``[coins, draws]``; a price falls by at most 99 %."""
    moves = model.root(coins) @ generator(seed).standard_normal((len(coins), draws))
    return np.asarray(np.maximum(moves, -0.99))


def _below_the_line(
    account: CarriedAccount, coins: Sequence[str], move: Floats, position: Floats, coin: Floats
) -> tuple[dict[int, frozenset[int]], int]:
    """Return the pots below their line in each draw that was revalued, and how many were refused.

    A pot that gains where the account loses dies in other draws than the account, so every pot is
    followed from its own worst draw on.
    """
    a = account.frame.arrangement
    by_pot = sum_by(position, a.position_pot, a.pots) + sum_by(coin, a.balance_pot, a.pots)
    below: dict[int, frozenset[int]] = {}
    refused = 0
    for pot, losses in enumerate(by_pot):
        calm = 0
        for k in np.argsort(-losses, kind="stable").tolist():
            if calm == _CALM:
                break
            if k not in below:
                try:
                    there = account.excess(dict(zip(coins, np.log1p(move[:, k]).tolist())))
                    below[k] = frozenset(np.flatnonzero(there < 0).tolist())
                except CrossmarginError:
                    below[k], refused = frozenset(range(a.pots)), refused + 1
            calm = 0 if pot in below[k] else calm + 1
    return below, refused


class CorrelationStress(msgspec.Struct, frozen=True, kw_only=True):
    """σ of an account over the correlation, and the end that hurts.

    Attributes
    ----------
    base, low, high : float
        Correlations.
    sigma_base_usd, sigma_low_usd, sigma_high_usd : float
        Standard deviation of the loss at each.
    worst : float
        The end with the larger σ.
    sigma_worst_usd : float
        Its σ.
    curve : list of (float, float)
        Correlation and σ between the ends.
    """

    base: float
    low: float
    high: float
    sigma_base_usd: float
    sigma_low_usd: float
    sigma_high_usd: float
    worst: float
    sigma_worst_usd: float
    curve: list[tuple[float, float]]


def correlation_stress(
    delta_usd: Mapping[str, float], model: RiskModel, *, low: float = 0.3, high: float = 1.0
) -> CorrelationStress:
    """Stress the correlation of an account's coins to both ends and keep the worse.

    Parameters
    ----------
    delta_usd : mapping of str to float
        Change of equity for each coin moving by its own size.
    model : RiskModel
        Standard deviations, and the base correlation.
    low, high : float
        Ends.
    """
    coins = list(delta_usd)
    delta = np.array([delta_usd[coin] for coin in coins])

    def sigma(rho: float | None) -> float:
        return math.sqrt(max(float(delta @ model.covariance(coins, rho) @ delta), 0.0))

    ends = {rho: sigma(rho) for rho in (high, low)}
    worst = max(ends, key=lambda rho: ends[rho])
    return CorrelationStress(
        base=model.correlation,
        low=low,
        high=high,
        sigma_base_usd=sigma(None),
        sigma_low_usd=ends[low],
        sigma_high_usd=ends[high],
        worst=worst,
        sigma_worst_usd=ends[worst],
        curve=[(float(rho), sigma(float(rho))) for rho in np.linspace(low, high, 15)],
    )
