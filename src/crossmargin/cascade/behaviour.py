"""What account holders do by themselves: add money, stop out, cut risk; and who comes in new.

Everything is a chance per hour of an account in a state, drawn from numbers that belong to the
account and the step (:func:`crossmargin.cascade.draws.uniforms`): neither the order of accounts
nor what others do changes them. Money that comes in is reported as external.

Behaviour is not identified by any data the house has (cascades.md, honest limits): rates are
inputs to be varied, not estimates. By default nobody does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.draws import uniforms
from crossmargin.cascade.figures import Floats, number, numbers, same_shape, value_of
from crossmargin.errors import CascadeError
from crossmargin.units import NS_PER_DAY, NS_PER_SECOND

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_HOUR_NS = 3_600 * NS_PER_SECOND

#: Says whether banks move money at a moment (ns UTC).
Calendar = Callable[[int], bool]


def banks_never(time_ns: int) -> bool:
    """Say that no bank ever moves money."""
    return False


def banking_hours(
    *, opens_h: float = 8.0, closes_h: float = 17.0, utc_offset_h: float = 0.0
) -> Calendar:
    """Return a calendar: Monday to Friday between two hours of local time, holidays not known.

    Parameters
    ----------
    opens_h, closes_h : float
        0 ≤ opens < closes ≤ 24.
    utc_offset_h : float
        Local time less UTC.

    Notes
    -----
    House. 10 October 2025, 21:15 UTC was a Friday evening: banks were shut until Monday.
    """
    number("opens_h", opens_h, least=0, most=24)
    if number("closes_h", closes_h, least=0, most=24) <= opens_h:
        raise CascadeError("banks close after they open", code="CAS-001", field="closes_h")
    shift = round(number("utc_offset_h", utc_offset_h, least=-24, most=24) * _HOUR_NS)

    def is_open(time_ns: int) -> bool:
        day, into = divmod(time_ns + shift, NS_PER_DAY)
        # The epoch began on a Thursday, day 3 of a week that begins on Monday.
        return (day + 3) % 7 < 5 and opens_h <= into / _HOUR_NS < closes_h

    return is_open


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Accounts that may act in a step. All arrays have one row for each.

    Attributes
    ----------
    account : int64[B]
        Rows of the population; a part of it suffices, whoever is left out does nothing.
    key : uint64[B]
        What draws belong to.
    equity, maintenance : float64[B]
        US dollars.
    open : bool[B]
        Whether anything is held.
    """

    account: Ints
    key: NDArray[np.uint64]
    equity: Floats
    maintenance: Floats
    open: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Wealth:
    """Money outside that can still be brought in, float64[A], US dollars."""

    fiat: Floats
    stable: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What holders do in a step.

    Attributes
    ----------
    account : int64[B]
        As in :class:`Holders`.
    cash : float64[B]
        Money brought in, US dollars, at least 0.
    close : float64[B]
        Share of every position closed at market, 0 to 1.
    stopped : bool[B]
        Who closed because of a stop-loss.
    """

    account: Ints
    cash: Floats
    close: Floats
    stopped: Bools

    @property
    def external(self) -> float:
        """Money that came in, in the order of rows."""
        return float(self.cash.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Rates and thresholds of behaviour. By default nobody does anything.

    Source: which actions there are from cascades.md (a) step 6; thresholds and rates house, not
    identified. Fiat in banking hours only: the issue's own condition.

    Attributes
    ----------
    topup_per_h : float
        Rate (per hour) at which an account below `topup_below` is topped up.
    topup_below, topup_to : float
        Health (equity over maintenance) that asks for money, and up to which it is added.
    deleverage_per_h : float
        Rate at which an account below `deleverage_below` closes part of everything.
    deleverage_below, deleverage_to : float
        Health, and the health to which the maintenance that remains is cut.
    stop_share : float
        Share of accounts that have a stop-loss.
    stop_loss : float
        Share of the equity at the start whose loss triggers it; everything is closed, once.
    """

    topup_per_h: float = 0.0
    topup_below: float = 1.5
    topup_to: float = 3.0
    deleverage_per_h: float = 0.0
    deleverage_below: float = 2.0
    deleverage_to: float = 3.0
    stop_share: float = 0.0
    stop_loss: float = 0.5

    def __post_init__(self) -> None:
        for name in ("topup_per_h", "deleverage_per_h"):
            number(name, getattr(self, name), least=0)
        number("stop_share", self.stop_share, least=0, most=1)
        number("stop_loss", self.stop_loss, above=0)
        for what in ("topup", "deleverage"):
            low = number(f"{what}_below", getattr(self, f"{what}_below"), least=1)
            number(f"{what}_to", getattr(self, f"{what}_to"), least=low)

    @property
    def idle(self) -> bool:
        """Whether nobody ever does anything."""
        return self.topup_per_h == self.deleverage_per_h == self.stop_share == 0.0

    def reach(self) -> float:
        """Return the health above which an account does nothing but stop out."""
        return max(
            self.topup_below if self.topup_per_h else 0.0,
            self.deleverage_below if self.deleverage_per_h else 0.0,
        )

    def has_stop(self, seed: int, path: int, key: ArrayLike) -> Bools:
        """Return who has a stop-loss: drawn once for an account, by its key."""
        drawn = uniforms(seed, path, "population", 0, key)[:, 0]
        return np.asarray(drawn < self.stop_share, dtype=np.bool_)


def act(
    habits: Habits,
    wealth: Wealth,
    holders: Holders,
    *,
    start_equity: Floats,
    seed: int,
    path: int,
    step: int,
    time_ns: int,
    dt_ns: int,
    banks: Calendar = banks_never,
) -> tuple[Wealth, Decisions]:
    """Let account holders decide.

    A stop-loss comes first, then a top-up, then a cut of what is held: who adds money enough
    does not cut. Stablecoins are brought in at any time, fiat only while banks are open.

    Parameters
    ----------
    habits : Habits
        Rates and thresholds.
    wealth : Wealth
        What all accounts can still bring in.
    holders : Holders
        Who may act.
    start_equity : float64[A]
        Of all accounts at the start: what a stop-loss counts from.
    seed, path, step : int
        Address of the draws.
    time_ns, dt_ns : int
        End of the step and its length.
    banks : Calendar
        When fiat moves.

    Returns
    -------
    wealth : Wealth
        What is left outside.
    decisions : Decisions
        Of the holders passed.
    """
    rows, equity, need = holders.account, holders.equity, holders.maintenance
    u = uniforms(seed, path, "behaviour", step, holders.key)
    hours = dt_ns / _HOUR_NS
    alive = holders.open & (need > 0)
    first = start_equity[rows]
    stopped = alive & (first > 0) & (equity < (1.0 - habits.stop_loss) * first)
    stopped &= habits.has_stop(seed, path, holders.key)

    asked = alive & ~stopped & (equity < habits.topup_below * need)
    asked &= u[:, 0] < _chance(habits.topup_per_h, hours)
    wanted = np.where(asked, np.maximum(habits.topup_to * need - equity, 0.0), 0.0)
    stable = np.minimum(wanted, wealth.stable[rows])
    fiat = (
        np.minimum(wanted - stable, wealth.fiat[rows]) if banks(time_ns) else np.zeros(u.shape[0])
    )
    cash = stable + fiat

    richer = equity + cash
    cut = alive & ~stopped & (richer < habits.deleverage_below * need)
    cut &= u[:, 1] < _chance(habits.deleverage_per_h, hours)
    # Closing in proportion lowers the requirement in proportion and leaves equity.
    left = np.divide(richer, habits.deleverage_to * need, out=np.ones(need.size), where=need > 0)
    close = np.where(cut, np.clip(1.0 - left, 0.0, 1.0), 0.0)
    close[stopped] = 1.0

    after_stable, after_fiat = wealth.stable.copy(), wealth.fiat.copy()
    after_stable[rows] -= stable
    after_fiat[rows] -= fiat
    return (
        replace(wealth, stable=after_stable, fiat=after_fiat),
        Decisions(account=rows, cash=cash, close=close, stopped=stopped),
    )


def _chance(per_h: float, hours: float) -> float:
    """Return the chance of at least one event of a rate within a time: ``1 − e^{−λt}``."""
    return float(-np.expm1(-per_h * hours))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrants:
    """Buyers from outside who come in after a fall.

    While the price stands x below its reference they buy ``rate·(x − after)⁺·depth`` US dollars an
    hour, x and `after` as logarithms: more of them the deeper the fall. They pay in full; their
    money is reported as external, and who sells to them is whoever the market finds.

    Source: "new entrants" of cascades.md (a) step 6; form house, not identified.

    Attributes
    ----------
    per_h : float
        Share of the depth D bought per hour and unit of fall beyond `after`.
    after : float
        Fall (logarithm, > 0) at which they begin.
    """

    per_h: float = 0.0
    after: float = 0.05

    def __post_init__(self) -> None:
        number("per_h", self.per_h, least=0)
        number("after", self.after, least=0)

    def coins(self, price: Floats, reference: Floats, depth_usd: Floats, dt_ns: int) -> Floats:
        """Return coins bought in a step, float64[K], at least 0.

        Parameters
        ----------
        price, reference : float64[K]
            Now, and what they compare with, US dollars.
        depth_usd : float64[K]
            D in a calm market.
        dt_ns : int
            Length of the step.
        """
        if self.per_h == 0.0:
            return np.zeros(price.size)
        same_shape(price=price, reference=reference, depth_usd=depth_usd)
        beyond = np.maximum(np.log(reference / price) - self.after, 0.0)
        usd = self.per_h * beyond * numbers("depth_usd", depth_usd, above=0) * (dt_ns / _HOUR_NS)
        return np.asarray(usd / price, dtype=np.float64)


def house_habits() -> Habits:
    """Return the shipped rates: assumptions to vary, see ``market.toml``."""
    below = float(value_of("market.toml", "topup_below"))
    cut = float(value_of("market.toml", "deleverage_below"))
    return Habits(
        topup_per_h=float(value_of("market.toml", "topup_per_h")),
        topup_below=below,
        topup_to=2.0 * below,
        deleverage_per_h=float(value_of("market.toml", "deleverage_per_h")),
        deleverage_below=cut,
        deleverage_to=1.5 * cut,
        stop_share=float(value_of("market.toml", "stop_share")),
        stop_loss=float(value_of("market.toml", "stop_loss")),
    )
