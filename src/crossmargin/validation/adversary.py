"""Books looked for because the model does badly on them.

Books are drawn from families that margin models are known to misjudge, and the ones with the
worst coverage are kept. A search always finds something: the worst of many books breaches more
than one book chosen beforehand would, so the level that chance alone reaches stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crossmargin.errors import InputError
from crossmargin.stats import generator
from crossmargin.validation.backtest import BookTest, run_backtest
from crossmargin.validation.contenders import Contender, make_setting
from crossmargin.validation.history import PERPETUAL, MarketHistory
from crossmargin.validation.portfolios import Leg, Pledge, Portfolio
from crossmargin.validation.surface import HeldShape

Progress = Callable[[str, int, int], None]
#: Families of books; what each needs of the history decides whether it is drawn from.
FAMILIES: tuple[str, ...] = ("spread", "wrong-way", "basis", "straddle", "calendar")
_SIZE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """The books that a model covers worst.

    Attributes
    ----------
    seed, drawn : int
        Of the search, and how many books it drew.
    worst : tuple of BookTest
        Lowest coverage first.
    by_chance : int
        Most breaches that 19 of 20 searches of as many *independent* books would find as their
        worst if the model were right, for the observations of the worst book. Books are alike,
        so chance reaches less in truth.
    refused : int
        Books among them that the model refused.
    families : tuple of str
        That were drawn from.
    """

    seed: int
    drawn: int
    worst: tuple[BookTest, ...]
    by_chance: int
    refused: int
    families: tuple[str, ...]


def draw_books(
    history: MarketHistory, *, seed: int, count: int, horizon: int = 1
) -> list[Portfolio]:
    """Draw books from the families that the history can value.

    Parameters
    ----------
    history : MarketHistory
        Says which coins, perpetuals and volatilities there are.
    seed : int
        The same seed draws the same books.
    count : int
        How many.
    horizon : int
        Days; options are longer.
    """
    rng = generator(seed)
    enough = 750
    seen = np.isfinite(history.price).sum(axis=0)
    coins = [
        name
        for name, days in zip(history.symbols, seen, strict=True)
        if not name.endswith(PERPETUAL) and days > enough
    ]
    own = [name for name in coins if _long(history, name + PERPETUAL, enough)]
    vols = [
        name for name in coins if np.isfinite(history.vol[:, history.column(name)]).sum() > enough
    ]
    able = {
        "spread": len(coins) >= 2, "wrong-way": bool(coins), "basis": bool(own),
        "straddle": bool(vols), "calendar": bool(vols),
    }  # fmt: skip
    families = [name for name in FAMILIES if able[name]]
    if not families:
        raise InputError(
            f"no coin has {enough} days of prices", code="INP-003", field="data",
            hint="give a longer history",
        )  # fmt: skip
    return [
        _draw(rng, families[k % len(families)], f"{k:03d}", coins, own, vols, horizon)
        for k in range(count)
    ]


def _long(history: MarketHistory, name: str, enough: int) -> bool:
    return history.has(name) and bool(
        np.isfinite(history.price[:, history.column(name)]).sum() > enough
    )


def _draw(
    rng: np.random.Generator,
    family: str,
    number: str,
    coins: Sequence[str],
    own: Sequence[str],
    vols: Sequence[str],
    horizon: int,
) -> Portfolio:
    def pick(names: Sequence[str]) -> str:
        return names[int(rng.integers(len(names)))]

    side = 1.0 if rng.random() < 0.5 else -1.0
    legs: list[Leg] = []
    pledged: list[Pledge] = []
    if family == "spread":
        two = rng.permutation(len(coins))[:2]
        ratio = float(np.round(rng.uniform(0.3, 1.5), 2))
        legs = [
            Leg(kind="perpetual", asset=coins[int(two[0])], usd=side * _SIZE),
            Leg(kind="perpetual", asset=coins[int(two[1])], usd=-side * _SIZE * ratio),
        ]
    elif family == "wrong-way":
        share = float(np.round(rng.uniform(0.2, 1.0), 2))
        legs = [Leg(kind="perpetual", asset=pick(coins), usd=_SIZE)]
        pledged = [Pledge(asset=pick(coins), usd=share * _SIZE)]
    elif family == "basis":
        coin = pick(own)
        ratio = float(np.round(rng.uniform(0.9, 1.1), 2))
        legs = [Leg(kind="perpetual", asset=coin, usd=-_SIZE * ratio, price="perpetual")]
        pledged = [Pledge(asset=coin, usd=_SIZE)]
    elif family == "straddle":
        coin, days = pick(vols), horizon + int(rng.integers(3, 44))
        wide = float(np.round(rng.uniform(0.0, 0.25), 2))
        legs = [
            Leg(kind="call", asset=coin, usd=-_SIZE, strike=1.0 + wide, days=days),
            Leg(kind="put", asset=coin, usd=-_SIZE, strike=1.0 - wide, days=days),
        ]
    else:
        coin, near = pick(vols), horizon + int(rng.integers(3, 14))
        far, strike = horizon + int(rng.integers(30, 90)), float(np.round(rng.uniform(0.9, 1.1), 2))
        legs = [
            Leg(kind="call", asset=coin, usd=-_SIZE, strike=strike, days=near),
            Leg(kind="call", asset=coin, usd=_SIZE, strike=strike, days=far),
        ]
    return Portfolio(name=f"{family}-{number}", group="adversarial", legs=legs, collateral=pledged)


def adversary(
    contender: Contender,
    history: MarketHistory,
    shape: HeldShape,
    *,
    seed: int,
    count: int = 60,
    keep: int = 5,
    level: float = 0.99,
    horizon: int = 1,
    progress: Progress | None = None,
) -> Adversary:
    """Look for the books that a contender covers worst.

    Parameters
    ----------
    contender : Contender
        The model on trial.
    history, shape
        The market.
    seed, count : int
        Of the search.
    keep : int
        Books that are returned.
    level, horizon
        As for the back-test.
    progress : callable, optional
        As for :func:`~crossmargin.validation.run_backtest`.
    """
    books = draw_books(history, seed=seed, count=count, horizon=horizon)
    setting = make_setting(books, history, shape, level=level, horizon=horizon)
    model = run_backtest([contender], setting, seed=seed, progress=progress).models[0]
    tests = model.tests
    worst = sorted(tests, key=lambda one: (one.upper.p_value, one.coverage))[:keep]
    return Adversary(
        seed=seed,
        drawn=len(tests),
        worst=tuple(worst),
        by_chance=_by_chance(worst[0].hits.size, len(tests), level),
        refused=len(model.refusals),
        families=tuple(dict.fromkeys(book.name.rsplit("-", 1)[0] for book in books)),
    )


def _by_chance(observations: int, books: int, level: float) -> int:
    """Return x with P(the largest of so many binomials ≤ x) ≥ 95 %."""
    from scipy.special import bdtr

    law = bdtr(np.arange(observations + 1, dtype=np.float64), observations, 1.0 - level)
    return int(np.argmax(law**books >= 0.95))
