"""The house model day by day over a history, for portfolios that do not change.

The formulas are those of the rule-set ``house`` (the same functions): on any one day the legs are
what the rule-set gives an account with these holdings in that market. What is quick here is that
volatilities are worked out once for all days and nothing is read, arranged or explained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from crossmargin.errors import InputError, MarketDataError, RulesetError
from crossmargin.margin._sums import sum_by
from crossmargin.margin._tail_law import legs_of, shortfalls_of
from crossmargin.margin.ruleset import load_ruleset
from crossmargin.market import FactorHistory, contract_coin
from crossmargin.pricing import black76, price_grid
from crossmargin.scenarios import (
    FactorScenarios,
    Prepared,
    TailSpec,
    distances,
    prepare,
    sets_at,
    shocked_vols,
)
from crossmargin.stats import shortfall_errors, tail_quantiles

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Legs of a path; liquidity, concentration and the cap on bought options are not among them.
PATH_LEGS = ("base", "stress", "buffer", "floor", "break", "offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseOption:
    """An option that is rolled every day: tenor and moneyness stay.

    Attributes
    ----------
    underlying : str
        Coin; the history must have its volatility.
    quantity : float
        Coins, signed.
    days : float
        Tenor.
    moneyness : float
        Strike over price.
    is_call : bool
        Call or put. Paid in US dollars.
    forward : {"index", "own"}
        Whether it moves with its coin, or with the coin and the basis of its tenor as listed
        options do.
    """

    underlying: str
    quantity: float
    days: float
    moneyness: float = 1.0
    is_call: bool = True
    forward: Literal["index", "own"] = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class HousePortfolio:
    """Holdings that stay the same from day to day.

    Attributes
    ----------
    name : str
        For people.
    coins : dict of str to float
        Units of each coin whose price the portfolio follows one to one: spot, collateral, and
        contracts where their basis is left aside.
    contracts : dict of str to float
        Units of contracts that are settled in dollars and follow prices of their own, by the name
        of their series in the history (``BTC-PERP``).
    options : tuple of HouseOption
        Rolled options.
    """

    name: str
    coins: dict[str, float] = field(default_factory=dict)
    contracts: dict[str, float] = field(default_factory=dict)
    options: tuple[HouseOption, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HousePath:
    """Margin of P portfolios on D days; US dollars; NaN where a coin's past is too short.

    Attributes
    ----------
    days : tuple of str
        ISO dates; margins are known at the close of each.
    names : tuple of str
        Portfolios.
    im, mm : float64[P, D]
        Sum of the legs at the two confidences.
    parts : dict of str to float64[P, D]
        Legs of initial margin.
    var, es_error : float64[P, D]
        Value at risk of the filtered past at the confidence of initial margin, and the standard
        error of its expected shortfall.
    pnl : float64[P, D]
        Profit and loss of the same holdings over the horizon that begins at each close (options
        keep their strike and tenor: price and volatility move, time does not); NaN at the end.
    """

    days: tuple[str, ...]
    names: tuple[str, ...]
    im: Floats
    mm: Floats
    parts: dict[str, Floats]
    var: Floats
    es_error: Floats
    pnl: Floats


def house_tail(**changes: Any) -> TailSpec:
    """Return the section ``tail`` of the rule-set ``house``, with changes.

    Raises
    ------
    RulesetError
        ``RUL-001`` for an unknown field or a figure out of range.
    """
    spec = load_ruleset("house").data.tail
    assert not isinstance(spec, UnsetType)
    plain = {**msgspec.to_builtins(spec), **changes}
    try:
        return msgspec.convert(plain, TailSpec, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise RulesetError(
            f"tail: {message[0].lower()}{message[1:]}",
            code="RUL-001",
            field=place.rstrip("`").removeprefix("$").lstrip(".") or None,
        ) from None


@dataclass(frozen=True, slots=True)
class _Linear:
    """Coins or contracts held: column of the price, coin, entry of the basis's rule, tenor."""

    column: Ints
    coin: Ints
    size: Floats
    group: Ints
    entry: Ints
    years: Floats


@dataclass(frozen=True, slots=True)
class _Holdings:
    """Portfolios as rows: coins, contracts, options; groups (portfolio, coin) they net in."""

    coins: _Linear
    contracts: _Linear
    option_row: Ints
    option_size: Floats
    option_group: Ints
    option_entry: Ints
    tenor: Floats
    moneyness: Floats
    is_call: NDArray[np.bool_]
    vol_column: Ints
    pot: Ints
    coin: Ints

    def at(self, price: Floats, contract: Floats, sizes: str) -> _Holdings:
        """Return the holdings in units of each coin at these prices."""
        if sizes == "coins":
            return self
        coins, own = self.coins, self.contracts
        return replace(
            self,
            coins=replace(coins, size=coins.size / price[coins.column]),
            contracts=replace(own, size=own.size / contract[own.column]),
            option_size=self.option_size / price[self.option_row],
        )

    @property
    def entries(self) -> int:
        """How many entries of the rule for the basis are needed."""
        used = np.concatenate([self.contracts.entry, self.option_entry])
        return int(used.max(initial=-1)) + 1


def _holdings(
    portfolios: Sequence[HousePortfolio], history: FactorHistory, spec: TailSpec
) -> _Holdings:
    place = {name: k for k, name in enumerate(history.coins)}
    own = {name: k for k, name in enumerate(history.contracts)}
    vols = {name: k for k, name in enumerate(history.vol_coins)}
    # Portfolio, column, coin and size of each row.
    rows: list[tuple[int, int, int, float]] = []
    contracts: list[tuple[int, int, int, float]] = []
    options: list[tuple[int, HouseOption]] = []
    for p, one in enumerate(portfolios):
        for name, size in sorted(one.coins.items()):
            if name not in place:
                raise _unknown(one, name, "prices")
            if size:
                rows.append((p, place[name], place[name], float(size)))
        for name, size in sorted(one.contracts.items()):
            if name not in own:
                raise _unknown(one, name, "prices")
            if size:
                contracts.append((p, own[name], place[contract_coin(name)], float(size)))
        for option in one.options:
            if option.underlying not in place or option.underlying not in vols:
                where = "vols" if option.underlying in place else "prices"
                raise _unknown(one, option.underlying, where)
            options.append((p, option))
    of_options = [(p, place[o.underlying]) for p, o in options]
    keys = [*((p, c) for p, _, c, _ in rows), *((p, c) for p, _, c, _ in contracts), *of_options]
    numbered = {key: k for k, key in enumerate(sorted(set(keys)))}
    group = np.array([numbered[key] for key in keys], dtype=np.int64)
    whole = np.array(sorted(numbered), dtype=np.int64).reshape(-1, 2)
    n, m = len(rows), len(rows) + len(contracts)
    entry = [_entry_of_series(spec, history.contracts[k]) for _, k, _, _ in contracts]
    return _Holdings(
        _linear(rows, group[:n], [-1] * n, spec),
        _linear(contracts, group[n:m], entry, spec),
        np.array([place[o.underlying] for _, o in options], dtype=np.int64),
        np.array([o.quantity for _, o in options]),
        group[m:],
        np.array([_entry_of_option(spec, o) for _, o in options], dtype=np.int64),
        np.array([o.days / 365.0 for _, o in options]),
        np.array([o.moneyness for _, o in options]),
        np.array([o.is_call for _, o in options], dtype=np.bool_),
        np.array([vols[o.underlying] for _, o in options], dtype=np.int64),
        whole[:, 0],
        whole[:, 1],
    )


def _linear(
    rows: Sequence[tuple[int, int, int, float]], group: Ints, entry: Sequence[int], spec: TailSpec
) -> _Linear:
    days = [one.days for one in spec.basis.contracts] if spec.basis is not None else []
    return _Linear(
        np.array([k for _, k, _, _ in rows], dtype=np.int64),
        np.array([c for _, _, c, _ in rows], dtype=np.int64),
        np.array([s for _, _, _, s in rows]),
        group,
        np.array(entry, dtype=np.int64),
        np.array([days[e] / 365.0 if e >= 0 else 0.0 for e in entry]),
    )


def _entry_of_series(spec: TailSpec, name: str) -> int:
    """Return the entry of the rule for the basis that a series is of, or -1."""
    endings = [one.ending for one in spec.basis.contracts] if spec.basis is not None else []
    ending = name.removeprefix(f"{contract_coin(name)}-")
    return endings.index(ending) if ending in endings else -1


def _entry_of_option(spec: TailSpec, option: HouseOption) -> int:
    if spec.basis is None or option.forward == "index":
        return -1
    return spec.basis.place("option", option.days)


def _unknown(portfolio: HousePortfolio, coin: str, where: str) -> MarketDataError:
    return MarketDataError(
        f"portfolio {portfolio.name!r} holds {coin}, whose {where} are not in the history",
        code="MKT-044",
        field=f"history.{where}.{coin}",
        hint="add the series to the history",
    )


def house_margin_path(
    portfolios: Sequence[HousePortfolio],
    history: FactorHistory,
    spec: TailSpec | None = None,
    *,
    first: str | None = None,
    last: str | None = None,
    sizes: Literal["coins", "usd"] = "coins",
    progress: Callable[[int, int], None] | None = None,
) -> HousePath:
    """Margin portfolios at the close of every day of a history, looking at its past alone.

    Parameters
    ----------
    portfolios : sequence of HousePortfolio
        At least one.
    history : FactorHistory
        Daily closes; volatilities of coins that options are on.
    spec : TailSpec, optional
        See :func:`house_tail`; default the rule-set's.
    first, last : str, optional
        ISO dates to begin and end with; default all days with a margin.
    sizes : {"coins", "usd"}
        What stays the same from day to day: the units held, or what they are worth. With
        ``"usd"`` the sizes of coins and options are US dollars of the coin at each close.
    progress : callable, optional
        Called with days done and days in all.

    Raises
    ------
    InputError
        ``INP-004`` without portfolios, or where no day lies between first and last.
    MarketDataError
        ``MKT-044`` for a coin that the history does not have.
    RulesetError
        ``RUL-036`` for volatility by GARCH: its fit sees the whole history.
    """
    rules = house_tail() if spec is None else spec
    if rules.volatility != "ewma":
        raise RulesetError(
            "a path over a history needs volatility = 'ewma': a GARCH fit sees later days",
            code="RUL-036",
            field="tail.volatility",
            hint="set tail.volatility to ewma, or margin single days",
        )
    if not portfolios:
        raise InputError("there is no portfolio", code="INP-004", field="portfolios")
    held = _holdings(portfolios, history, rules)
    past = prepare(history, rules, entries=held.entries)
    begun = np.flatnonzero((past.residuals >= rules.fewest).any(axis=1))
    days = [
        int(d)
        for d in begun
        if (first is None or history.days[d] >= first) and (last is None or history.days[d] <= last)
    ]
    if not days:
        raise InputError(
            f"the history has no day with {rules.fewest} returns before it",
            code="INP-004",
            field="first",
            hint="give a longer history or other dates",
        )
    size = (len(portfolios), len(days))
    out = {name: np.full(size, np.nan) for name in ("im", "mm", "var", "error", *PATH_LEGS)}
    for column, day in enumerate(days):
        own = history.contract[day] if history.contracts else np.empty(0)
        now = held.at(history.price[day], own, sizes)
        _one_day(past, now, own, day, rules, out, column)
        if progress is not None:
            progress(column + 1, len(days))
    return HousePath(
        days=tuple(history.days[d] for d in days),
        names=tuple(p.name for p in portfolios),
        im=out["im"],
        mm=out["mm"],
        parts={leg: out[leg] for leg in PATH_LEGS},
        var=out["var"],
        es_error=out["error"],
        pnl=_realised(held, history, np.array(days), rules.horizon_days, len(portfolios), sizes),
    )


def _one_day(
    past: Prepared,
    held: _Holdings,
    own: Floats,
    day: int,
    spec: TailSpec,
    out: dict[str, Floats],
    column: int,
) -> None:
    sets = sets_at(past, day, spec, levels=bool(held.option_row.size))
    price = past.history.price[day]
    pots = out["im"].shape[0]
    vol = past.history.vol[day][held.vol_column] if held.vol_column.size else np.empty(0)
    every = (sets.filtered, sets.stress, sets.long)
    parts = [_vectors(held, price, own, vol, s, spec) for s in every]
    fine = sets.known & np.isfinite(price)
    bad = ~fine[held.coin]
    bad[held.option_group[~np.isfinite(vol)]] = True
    bad[held.contracts.group[~np.isfinite(own[held.contracts.column])]] = True
    lost = np.zeros(pots, dtype=np.bool_)
    lost[held.pot[bad]] = True
    a, b, c = (np.nan_to_num(part) for part in parts)
    x, y, z = (sum_by(part, held.pot, pots) for part in (a, b, c))
    both = shortfalls_of(spec, (a, b, c), (x, y, z), held.pot, held.coin, sets.order)
    for name, (found, _) in zip(("im", "mm"), both):
        legs = legs_of(spec, found)
        out[name][:, column] = np.where(lost, np.nan, legs.total)
        if name == "im":
            for leg in PATH_LEGS:
                out[leg][:, column] = np.where(lost, np.nan, legs.value[leg])
    out["var"][:, column] = np.where(lost, np.nan, tail_quantiles(x, spec.level_im))
    out["error"][:, column] = np.where(lost, np.nan, shortfall_errors(x, spec.level_im))


def _vectors(
    held: _Holdings, price: Floats, own: Floats, vol: Floats, s: FactorScenarios, spec: TailSpec
) -> Floats:
    """Return profit and loss by group and scenario, ``[G, S]``."""
    coins, groups = held.coins, held.pot.size
    usd = coins.size * price[coins.column]
    v = sum_by(usd[:, None] * s.move[coins.column], coins.group, groups)
    if held.contracts.size.size:
        c = held.contracts
        usd = c.size * own[c.column]
        over = np.exp(s.basis.of(c.coin, c.entry, c.years))
        v = v + sum_by(usd[:, None] * ((1.0 + s.move[c.coin]) * over - 1.0), c.group, groups)
    if not held.option_row.size:
        return v
    spot = price[held.option_row]
    usable = np.isfinite(spot) & np.isfinite(vol)
    f, sigma = np.where(usable, spot, 1.0), np.where(usable, vol, 1.0)
    strike, up = f * held.moneyness, s.move[held.option_row]
    move = up
    if (held.option_entry >= 0).any():
        over = s.basis.of(held.option_row, held.option_entry, held.tenor)
        move = (1.0 + up) * np.exp(over) - 1.0
    vols = shocked_vols(
        spec.vol,
        sigma,
        s.level[held.option_row],
        np.log1p(up),
        distances(strike, f, sigma, held.tenor),
        held.tenor,
    )
    then = price_grid(
        np.zeros(f.size), f, strike, held.tenor, held.is_call, move, vols, np.arange(s.size)
    )
    now = black76(f, strike, held.tenor, sigma, held.is_call)
    pnl = held.option_size[:, None] * (then - now[:, None])
    return v + sum_by(pnl, held.option_group, held.pot.size)


def _realised(
    held: _Holdings, history: FactorHistory, days: Ints, horizon: int, pots: int, sizes: str
) -> Floats:
    """Return what the holdings gained over the horizon after each day, ``[P, D]``."""
    out = np.full((pots, days.size), np.nan)
    inside = days + horizon < len(history.days)
    now, then = days[inside], days[inside] + horizon
    scale = (
        np.ones((now.size, len(history.coins))) if sizes == "coins" else 1.0 / history.price[now]
    )
    total = np.zeros((pots, now.size))
    for rows, price in ((held.coins, history.price), (held.contracts, history.contract)):
        if rows.size.size:
            change = price[then] - price[now]
            moved = change if sizes == "coins" else change / price[now]
            total += sum_by(
                rows.size[:, None] * moved[:, rows.column].T, held.pot[rows.group], pots
            )
    if held.option_row.size:
        value = []
        for at in (now, then):
            f = history.price[at][:, held.option_row]
            strike = history.price[now][:, held.option_row] * held.moneyness
            sigma = history.vol[at][:, held.vol_column]
            fine = np.isfinite(f) & np.isfinite(sigma) & np.isfinite(strike)
            safe = [np.where(fine, part, 1.0) for part in (f, strike, sigma)]
            years = np.broadcast_to(held.tenor, f.shape)
            calls = np.broadcast_to(held.is_call, f.shape)
            value.append(np.where(fine, black76(safe[0], safe[1], years, safe[2], calls), np.nan))
        gain = ((value[1] - value[0]) * scale[:, held.option_row]).T * held.option_size[:, None]
        total += sum_by(gain, held.pot[held.option_group], pots)
    out[:, inside] = total
    return out


__all__ = [
    "PATH_LEGS",
    "HouseOption",
    "HousePath",
    "HousePortfolio",
    "house_margin_path",
    "house_tail",
]
