"""Stress: what an account loses in named scenarios, what it then has, and what closing costs.

Every scenario is a full revaluation in a market that has moved at once; the loss is of equity at
market, US dollars. Where a pot falls below its line, its positions are closed and the cost of
that is added. The worst case is the largest over the scenarios and over nothing happening, so
that adding a scenario never lowers it.

Source: requirements B20 (scenario table, worst case, loss after liquidation cost), B16 (the
stress chooses the direction that hurts), B19 (a location stops). Costs of closing are the
house's, and stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import RiskModel, default_risk_model
from crossmargin.analytics.stress_scenarios import EVERY_ONE, NO_STRESS, StressScenario
from crossmargin.book import AccountFile, account_without_location
from crossmargin.errors import CrossmarginError, MarginError
from crossmargin.instruments import KIND_CODE
from crossmargin.margin import (
    CarriedAccount,
    Evaluation,
    Frame,
    Ruleset,
    position_greeks,
    pot_lines,
    worst_state,
)
from crossmargin.market import Snapshot
from crossmargin.stats import nearest_correlation, worst_correlation

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseCosts:
    """What closing by force costs: a rate on delta notional, and points of volatility on vega.

    Cost = ``rate·|delta|·price + vol_points·|vega|`` of each position, not netted: what is closed
    is closed leg by leg.

    Attributes
    ----------
    rate : float
        Fraction of each position's delta notional. House: 1 %, a liquidation fee of ½ % and as
        much slippage.
    vol_points : float
        Volatility points paid away on options. House: 3.
    """

    rate: float = 0.01
    vol_points: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what is no cost."""
        for name, value in (("rate", self.rate), ("vol_points", self.vol_points)):
            if not (math.isfinite(value) and value >= 0):
                raise MarginError(
                    f"{name} is {value:g}, not a number of at least 0", code="MRG-025", field=name
                )

    def of(self, frame: Frame, pots: Bools) -> float:
        """Return the cost of closing the positions of some pots, US dollars."""
        book, terms = frame.book, frame.terms
        held = book.position_instrument
        mine = pots[frame.arrangement.position_pot] & ~frame.view.settled[held]
        if not mine.any():
            return 0.0
        greeks = position_greeks(frame)
        coin = frame.asset_usd_or_one[terms.underlying[held]]
        flat = self.rate * np.abs(greeks.delta) * coin
        option = terms.kind[held] == KIND_CODE["option"]
        vol = np.where(option, self.vol_points * np.abs(greeks.vega_usd), 0.0)
        return float((flat + vol)[mine].sum())


class StressRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account in one scenario, US dollars.

    Attributes
    ----------
    scenario, title, kind : str
        Which.
    loss_usd : float
        Fall of equity at market; < 0 for a gain.
    closing_cost_usd : float
        Of the pots that fall below their line and stand above it today.
    loss_after_cost_usd : float
        Both together.
    equity_im_usd, equity_mm_usd, im_usd, mm_usd : float
        Afterwards, before anything is closed.
    ratio_im : float or None
        Equity after haircuts / IM; None where nothing is required.
    health : float or None
        Least equity / MM of the pots.
    state : str
        Worst state of the pots.
    breached : list of str
        Pots below their line.
    top_up_im_usd, top_up_mm_usd : float
        What the pots lack, added up.
    moves : dict of str to float
        Relative moves that were applied, by coin or stablecoin; ``vol:COIN`` for volatility.
    chosen : str
        What the scenario chose by itself: direction and correlation, or the location.
    error : str or None
        Why there is no number: the rule-set has no figure for that market.
    """

    scenario: str
    title: str
    kind: str
    loss_usd: float = 0.0
    closing_cost_usd: float = 0.0
    loss_after_cost_usd: float = 0.0
    equity_im_usd: float = 0.0
    equity_mm_usd: float = 0.0
    im_usd: float = 0.0
    mm_usd: float = 0.0
    ratio_im: float | None = None
    health: float | None = None
    state: str = ""
    breached: list[str] = []
    top_up_im_usd: float = 0.0
    top_up_mm_usd: float = 0.0
    moves: dict[str, float] = {}
    chosen: str = ""
    error: str | None = None


class StressReport(msgspec.Struct, frozen=True, kw_only=True):
    """An account in several scenarios.

    Attributes
    ----------
    account, ruleset : str
        Whose, by which rules.
    now : StressRow
        Nothing moves: loss exactly 0.
    rows : list of StressRow
        In the order asked for; those without a number carry the reason.
    worst : str
        Scenario with the largest loss after cost; ``none`` where nothing loses.
    worst_loss_usd : float
        That loss, at least 0.
    breaches : int
        Scenarios in which a pot falls below its line.
    model : RiskModel
        Standard deviations and correlation behind scenarios that choose their own moves.
    costs : CloseCosts
        Of closing.
    """

    account: str
    ruleset: str
    now: StressRow
    rows: list[StressRow]
    worst: str
    worst_loss_usd: float
    breaches: int
    model: RiskModel
    costs: CloseCosts


def run_stress(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    scenarios: Sequence[StressScenario],
    *,
    costs: CloseCosts | None = None,
    model: RiskModel | None = None,
) -> StressReport:
    """Put an account through scenarios.

    Parameters
    ----------
    account, snapshot, ruleset
        The account today.
    scenarios : sequence of StressScenario
        May be empty.
    costs : CloseCosts, optional
        Of closing what breaches.
    model : RiskModel, optional
        For scenarios of kind ``correlation``; default volatilities of the market, daily.

    Returns
    -------
    StressReport
        A scenario for which the rule-set has no figure is a row with the reason.
    """
    desk = StressDesk(account, snapshot, ruleset, costs=costs, model=model)
    rows = [desk.row(one) for one in scenarios]
    now = desk.row(NO_STRESS)
    known = [now, *(row for row in rows if row.error is None)]
    worst = max(known, key=lambda row: row.loss_after_cost_usd)
    return StressReport(
        account=account.account,
        ruleset=ruleset.id,
        now=now,
        rows=rows,
        worst=worst.scenario,
        worst_loss_usd=max(0.0, worst.loss_after_cost_usd),
        breaches=sum(bool(row.breached) for row in rows),
        model=desk.model,
        costs=desk.costs,
    )


class StressDesk:
    """An account that is put through scenarios one by one.

    Parameters
    ----------
    account, snapshot, ruleset, costs, model
        As for :func:`run_stress`.
    """

    def __init__(
        self,
        account: AccountFile,
        snapshot: Snapshot,
        ruleset: Ruleset,
        *,
        costs: CloseCosts | None = None,
        model: RiskModel | None = None,
    ) -> None:
        self._account, self._snapshot, self._ruleset = account, snapshot, ruleset
        self.carried = CarriedAccount(account, snapshot, ruleset)
        self.costs = costs or CloseCosts()
        drivers = sorted(set(self.carried.drivers.values()))
        self.model = model or default_risk_model(snapshot, drivers)
        self._coins = drivers
        self._value = market_value(self.carried.evaluation(self.carried.frame))
        below = self.carried.excess_of(self.carried.frame) < 0
        self._broken_now = {name for name, out in zip(self.carried.pots, below) if out}

    def row(self, scenario: StressScenario) -> StressRow:
        """Put the account through one scenario."""
        try:
            if scenario.kind == "correlation":
                return self._correlation(scenario)
            if scenario.kind == "location":
                return self._location(scenario)
            there, moves = self._moved(scenario.moves, scenario.vols, scenario.dollars)
            asked = scenario.moves or scenario.vols or scenario.dollars
            said = "moves nothing here" if asked and not moves else ""
            return self._described(scenario, self.carried, there, moves, said)
        except CrossmarginError as error:
            return StressRow(
                scenario=scenario.name,
                title=scenario.title,
                kind=scenario.kind,
                error=str(error),
            )

    def _moved(
        self,
        moves: Mapping[str, float],
        vols: Mapping[str, float] | None = None,
        dollars: Mapping[str, float] | None = None,
    ) -> tuple[Frame, dict[str, float]]:
        """Return the account where coins, volatilities and dollars have moved, and the moves."""
        vols, rest = vols or {}, moves.get(EVERY_ONE, 0.0)
        log_prices, log_vols, own, applied = {}, {}, {}, {}
        for coin in self._coins:
            move = moves.get(coin, rest)
            if move:
                log_prices[coin], applied[coin] = math.log1p(move), move
        for name, driver in self.carried.drivers.items():
            if name != driver and name in moves:
                # An asset that follows another and is named moves by its own figure.
                led = moves.get(driver, rest)
                own[name], applied[name] = math.log1p(moves[name]) - math.log1p(led), moves[name]
        for coin in self.carried.option_coins:
            change = vols.get(coin, vols.get(EVERY_ONE, 0.0))
            if change:
                log_vols[coin], applied[f"vol:{coin}"] = math.log1p(change), change
        names = self.carried.frame.book.registry.assets
        for name, move in (dollars or {}).items():
            if name in names and move:
                own[name], applied[name] = math.log1p(move), move
        return self.carried.moved(log_prices, log_vols, own), applied

    def _described(
        self,
        scenario: StressScenario,
        carried: CarriedAccount,
        there: Frame,
        moves: dict[str, float],
        chosen: str = "",
    ) -> StressRow:
        done = carried.evaluation(there)
        usd = there.pot_usd
        excess = carried.excess_of(there)
        broken = excess < 0
        equity_im, im = done.have.im * usd, done.need_orders.im * usd
        equity_mm, mm = done.have.mm * usd, done.mm * usd
        loss = self._value - market_value(done)
        # What is below its line today is closed whatever happens: no scenario's doing.
        fresh = np.array([name not in self._broken_now for name in carried.pots], dtype=np.bool_)
        cost = self.costs.of(there, broken & fresh)
        lines = pot_lines(done)
        need = float(im.sum())
        return StressRow(
            scenario=scenario.name,
            title=scenario.title,
            kind=scenario.kind,
            loss_usd=loss,
            closing_cost_usd=cost,
            loss_after_cost_usd=loss + cost,
            equity_im_usd=float(equity_im.sum()),
            equity_mm_usd=float(equity_mm.sum()),
            im_usd=need,
            mm_usd=float(mm.sum()),
            ratio_im=float(equity_im.sum()) / need if need > 0 else None,
            health=min((line.health for line in lines if line.health is not None), default=None),
            state=worst_state(line.state for line in lines),
            breached=[name for name, out in zip(carried.pots, broken) if out],
            top_up_im_usd=float(np.maximum(im - equity_im, 0.0).sum()),
            top_up_mm_usd=float(np.maximum(mm - equity_mm, 0.0).sum()),
            moves=moves,
            chosen=chosen,
        )

    def _correlation(self, scenario: StressScenario) -> StressRow:
        """Take the joint move of a size that loses most, over both ends of the correlation.

        Candidates are, at either end, the move along Σ·delta both ways (the worst of a linear
        book) and along each principal axis both ways (for books without delta). Of more than two
        coins some may hedge each other and others not: then each pair at the end that hurts is
        tried as well.
        """
        coins = [coin for coin in self._coins if coin in self.model.sigma]
        if not coins or scenario.sigmas == 0:
            there, moves = self._moved({})
            return self._described(scenario, self.carried, there, moves, "nothing to move")
        delta = self.delta_usd(coins)
        best: tuple[float, Frame, dict[str, float], str] | None = None
        low, high = scenario.correlation_low, scenario.correlation_high
        ends = {f"correlation {rho:g}": self.model.covariance(coins, rho) for rho in (low, high)}
        if len(coins) > 2:
            scale = np.array([self.model.sigma[coin] for coin in coins])
            base = self.model.covariance(coins) / np.outer(scale, scale)
            pairs = hurtful_correlation(delta, base, low=low, high=high)
            ends["correlation pair by pair"] = scale[:, None] * pairs * scale
        for words, cov in ends.items():
            for direction in joint_directions(cov, delta):
                step = np.maximum(scenario.sigmas * direction, -0.95)
                there, moves = self._moved(dict(zip(coins, step.tolist())))
                loss = self._value - market_value(self.carried.evaluation(there))
                if best is None or loss > best[0]:
                    best = loss, there, moves, words
        assert best is not None
        return self._described(scenario, self.carried, best[1], best[2], best[3])

    def delta_usd(self, coins: Sequence[str]) -> Floats:
        """Return the change of equity at market for each coin's price moving by its own size.

        By central differences of one part in ten thousand; collateral in coin counts.
        """
        step, found = 1e-4, []
        for coin in coins:
            ends = []
            for move in (step, -step):
                there, _ = self._moved({coin: move})
                ends.append(market_value(self.carried.evaluation(there)))
            found.append((ends[0] - ends[1]) / (2.0 * step))
        return np.array(found)

    def _location(self, scenario: StressScenario) -> StressRow:
        """Stop a location, or each in turn, and show the worst."""
        known = sorted({b.location for b in self._account.balances if b.location is not None})
        places = known if scenario.location == EVERY_ONE else [scenario.location]
        if not places:
            there, moves = self._moved({})
            said = "no balance names a location"
            return self._described(scenario, self.carried, there, moves, said)
        rows = []
        for place in places:
            without = account_without_location(self._account, place)
            carried = CarriedAccount(without, self._snapshot, self._ruleset)
            rows.append(self._described(scenario, carried, carried.frame, {}, f"{place} stops"))
        return max(rows, key=lambda row: (row.loss_after_cost_usd, -(row.health or 0.0)))


def market_value(done: Evaluation) -> float:
    """Equity at market of an evaluated account: balances, profit and options, US dollars."""
    have = done.have
    return float((have.balances + have.unrealised + have.option_value) @ done.frame.pot_usd)


def hurtful_correlation(delta: Floats, base: Floats, *, low: float, high: float) -> Floats:
    """Return the correlation with each pair at the end that hurts a book, as a matrix that can be.

    What one side holds is pushed together, what hedges is pulled apart, read off the deltas
    (:func:`~crossmargin.stats.worst_correlation`); if such a matrix cannot be, the nearest one is.
    """
    wanted = worst_correlation(delta, base, low=low, high=high)
    if float(np.linalg.eigvalsh(wanted)[0]) >= -1e-12:
        return wanted
    return nearest_correlation(wanted)


def joint_directions(cov: Floats, delta: Floats) -> list[Floats]:
    """Return joint moves of one standard deviation: along Σ·delta and the principal axes."""
    found = []
    spread = math.sqrt(max(float(delta @ cov @ delta), 0.0))
    if spread > 0:
        along = cov @ delta / spread
        found += [-along, along]
    values, axes = np.linalg.eigh(cov)
    for value, axis in zip(values, axes.T):
        if value > 1e-18:
            step = math.sqrt(value) * axis
            found += [step, -step]
    return found
