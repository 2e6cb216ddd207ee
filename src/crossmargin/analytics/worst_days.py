r"""The worst days of an account: how much is lost on them, by whom, and what moved.

Joint normal moves are drawn and every position and balance is revalued in each. Of the worst share
of them the mean loss is the expected shortfall, and what each position loses on average in the
same draws is its Euler share: the shares sum to it. The *culprit* of a day is who loses most on it.

*Beta* to a coin is what the account gains per relative move of it, the others moving along as they
are wont to: the slope of a regression over all draws,

.. math:: \beta_c = \operatorname{Cov}(\Delta V, r_c) / \operatorname{Var}(r_c),

in US dollars for a move of 1; over equity it is the account's beta.

Source: requirements A13 ("worst 1 % days", naming the culprit; portfolio beta) and A07 (the law);
Euler's shares as in A03.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.account_risk import RiskModel, normal_moves
from crossmargin.analytics.efficiency import scenario_losses
from crossmargin.errors import MarginError
from crossmargin.margin import CarriedAccount, Frame

Floats = NDArray[np.float64]

#: Days that are told one by one.
_TOLD = 5


class Culprit(msgspec.Struct, frozen=True, kw_only=True):
    """What one position or balance does on the worst days.

    Attributes
    ----------
    name : str
        Instrument, or ``balance BTC``; the pool behind it where there are several.
    mean_usd : float
        Mean loss on the worst days, > 0 a loss.
    share : float
        Of the mean loss of the whole account; below 0 for what helps.
    worst : int
        Days on which nobody loses more.
    """

    name: str
    mean_usd: float
    share: float
    worst: int


class WorstDay(msgspec.Struct, frozen=True, kw_only=True):
    """One of the worst days.

    Attributes
    ----------
    loss_usd : float
        Of the account, > 0 a loss.
    moves : dict of str to float
        Relative move of each coin.
    culprit : str
        Who loses most.
    culprit_usd : float
        How much.
    """

    loss_usd: float
    moves: Mapping[str, float]
    culprit: str
    culprit_usd: float


class WorstDays(msgspec.Struct, frozen=True, kw_only=True):
    """The worst share of many drawn days.

    Attributes
    ----------
    draws, seed : int
        Days drawn, and the seed.
    share : float
        What counts as worst.
    days : int
        So many days.
    mean_usd : float
        Mean loss on them.
    culprits : tuple of Culprit
        Largest mean loss first; their means sum to `mean_usd`.
    worst : tuple of WorstDay
        The five worst, worst first.
    beta_usd : dict of str to float
        By coin, US dollars gained for a relative move of 1, others moving along.
    """

    draws: int
    seed: int
    share: float
    days: int
    mean_usd: float
    culprits: tuple[Culprit, ...]
    worst: tuple[WorstDay, ...]
    beta_usd: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Drawn:
    coins: list[str]
    moves: Floats
    names: list[str]
    losses: Floats


def worst_days(
    account: CarriedAccount,
    model: RiskModel,
    *,
    draws: int = 20_000,
    share: float = 0.01,
    seed: int = 20260203,
) -> WorstDays:
    """Draw days and say who brings the account down on the worst of them.

    Parameters
    ----------
    account : CarriedAccount
        The account today.
    model : RiskModel
        Moves over a day.
    draws, seed : int
        Days drawn and the generator's seed.
    share : float
        Of the days, which count as worst: above 0, at most 1.

    Raises
    ------
    MarginError
        ``MRG-025`` when no day would be among the worst, or no coin moves the account.
    """
    coins = sorted(set(account.drivers.values()))
    count = math.floor(draws * share + 1e-9) if 0.0 < share <= 1.0 else 0
    if not (coins and count >= 1):
        raise MarginError(
            f"{share:.3g} of {draws} days over {len(coins)} coins", code="MRG-025", field="draws",
            hint="at least one coin, and at least one day among the worst",
        )  # fmt: skip
    moves = normal_moves(model, coins, draws, seed)
    position, balance = scenario_losses(account.frame, coins, moves)
    drawn = _Drawn(coins, moves, _names(account.frame), np.concatenate([position, balance]))
    loss = drawn.losses.sum(axis=0)
    worst = np.argsort(-loss, kind="stable")[:count]
    return WorstDays(
        draws=draws,
        seed=seed,
        share=share,
        days=count,
        mean_usd=float(loss[worst].mean()),
        culprits=_culprits(drawn, worst),
        worst=tuple(_day(drawn, day) for day in worst[:_TOLD].tolist()),
        beta_usd={coin: _beta(-loss, moves[k]) for k, coin in enumerate(coins)},
    )


def _culprits(drawn: _Drawn, worst: NDArray[np.int64]) -> tuple[Culprit, ...]:
    losses = drawn.losses[:, worst]
    mean, total = losses.mean(axis=1), float(losses.sum(axis=0).mean())
    times = np.bincount(np.argmax(losses, axis=0), minlength=len(drawn.names))
    made = [
        Culprit(
            name=name,
            mean_usd=float(mean[k]),
            share=float(mean[k]) / total if total else 0.0,
            worst=int(times[k]),
        )
        for k, name in enumerate(drawn.names)
        if losses[k].any()
    ]
    return tuple(sorted(made, key=lambda one: -one.mean_usd))


def _day(drawn: _Drawn, day: int) -> WorstDay:
    losses = drawn.losses[:, day]
    who = int(np.argmax(losses))
    return WorstDay(
        loss_usd=float(losses.sum()),
        moves=dict(zip(drawn.coins, drawn.moves[:, day].tolist())),
        culprit=drawn.names[who],
        culprit_usd=float(losses[who]),
    )


def _beta(gain: Floats, move: Floats) -> float:
    away = move - move.mean()
    return float(gain @ away / (away @ away))


def _names(frame: Frame) -> list[str]:
    """Return what each row of positions, then of balances, is called."""
    book, registry = frame.book, frame.book.registry
    held = [registry[int(i)].id for i in book.position_instrument]
    owned = [f"balance {registry.assets[int(a)]}" for a in book.balance_asset]
    pools = np.concatenate([book.position_pool, book.balance_pool]).astype(np.int64).tolist()
    several = len(set(pools)) > 1
    return [
        f"{name} in {book.pool_names[pool]}" if several else name
        for name, pool in zip(held + owned, pools)
    ]
