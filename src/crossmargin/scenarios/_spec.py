"""The scenario section of a rule-set: which moves, which volatility states, what counts.

This room validates its own section; the numbers come from the rule-set file.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from crossmargin.errors import RulesetError

VolState = Literal["up", "same", "down", "skew", "smile"]
#: Columns of the volatility array of a risk table.
VOL_STATES: tuple[VolState, ...] = ("same", "up", "down", "skew", "smile")
#: States that turn the surface about the forward instead of lifting it: the price stays, and
#: what counts is the loss of either direction.
TURNED: frozenset[VolState] = frozenset({"skew", "smile"})

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
#: Exponents of the tenor: Derive's setters refuse more than 10.
Power = Annotated[float, Meta(ge=0, le=10)]
#: Stands for a figure that a venue does not publish: refused when an account needs it.
Unknown = Literal["unknown"]


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cartesian block of scenarios: every move with every volatility state.

    Attributes
    ----------
    moves : list of float
        Moves of the underlying: fractions of the price (``unit = "ratio"``) or multiples of the
        underlying's ``price_range`` (``unit = "range"``).
    vols : list of {"up", "same", "down", "skew", "smile"}
        Volatility states; in the file's order they vary fastest. ``skew`` turns the surface
        about the forward (one wing up, the other down), ``smile`` lifts both wings; both are
        sized by the underlying's `turn` and leave the price where it is.
    weight : float, list of float or "range/move"
        Share of the profit and loss that counts: one number, one per move, or
        ``price_range / |move| × extended_factor``.
    extended : bool
        Tail scenarios: linear legs are capped at the price range when `cap_linear` says so, the
        dampener applies and gains do not count.
    name : str
        What ``scan-part`` components and an underlying's own `moves` call it by.
    """

    moves: list[float]
    vols: list[VolState]
    unit: Literal["ratio", "range"] = "ratio"
    weight: float | list[float] | Literal["range/move"] = 1.0
    extended: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse empty blocks, impossible moves and weights that do not fit."""
        if not self.moves or not self.vols:
            raise ValueError("a block needs at least one move and one volatility state")
        weights = self.weight if isinstance(self.weight, list) else [self.weight]
        numbers = [*self.moves, *(w for w in weights if not isinstance(w, str))]
        if not all(math.isfinite(x) for x in numbers):
            raise ValueError("moves and weights must be finite numbers")
        if self.unit == "ratio" and min(self.moves) <= -1:
            raise ValueError("a price cannot fall by 100 % or more")
        if isinstance(self.weight, list) and len(self.weight) != len(self.moves):
            raise ValueError("weight needs one number for each move")
        if any(w < 0 for w in weights if not isinstance(w, str)):
            raise ValueError("a weight cannot be negative")
        if TURNED & set(self.vols) and any(self.moves):
            raise ValueError("a skew or smile scenario leaves the price alone: its move is 0")


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a surface turns about its forward.

    With ``s = √years``, ``k = ln(K/F)`` (``|k|`` for the smile) and
    ``k* = max(k_star_min, k_star_width·s·(vol_static + vol_scale·s))``, volatility is
    multiplied by ``max(0, 1 + x)``, where ``cap = cap + cap_tenor·s`` and x is
    ``min(cap, k·cap/k*)`` for k of 0 or more, ``max(−cap, k·cap/k*)`` below.

    Source: Derive v2-core, PMRMLib_2.sol (commit 7736900d), skew shocks; `skew` is called Linear
    there and `smile` Abs.

    Attributes
    ----------
    skew_cap, skew_cap_tenor, smile_cap, smile_cap_tenor : float
        Largest relative change, and its change with √years.
    k_star_min, k_star_width, vol_static, vol_scale : float
        Log-moneyness at which the cap is reached.
    """

    skew_cap: Annotated[float, Meta(ge=-10, le=10)]
    skew_cap_tenor: Annotated[float, Meta(ge=-10, le=10)]
    smile_cap: Annotated[float, Meta(ge=-10, le=10)]
    smile_cap_tenor: Annotated[float, Meta(ge=-10, le=10)]
    k_star_min: Annotated[float, Meta(ge=0, le=100)]
    k_star_width: Annotated[float, Meta(ge=0, le=100)]
    vol_static: Annotated[float, Meta(ge=0, le=100)]
    vol_scale: Annotated[float, Meta(ge=-100, le=100)]


class UnderlyingShocks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sizes of the shocks of one underlying.

    Attributes
    ----------
    price_range : float
        Largest ordinary move, as a fraction.
    vol_up, vol_down : float or "unknown"
        Relative change of volatility at the reference tenor; ``unknown`` where the venue does
        not publish it, and options are refused.
    vol_unit : {"ratio", "points"}
        ``points``: the changes are added to the volatility (0.04 is four points), at every tenor
        alike.
    moves : dict of str to list of float
        Moves that replace those of the block of that name, as many, fractions of the price.
    vol_floor_up : float
        Shocked-up volatility is at least this, per year.
    short_power, long_power : float
        Exponent of (reference / days) below, and from, the reference tenor on.
    days_floor : float
        Days to expiry are taken to be at least this in the power law.
    extended_factor : float
        Multiplies the weight of ``range/move`` blocks.
    turn : Turn or None
        Sizes of ``skew`` and ``smile`` scenarios.
    """

    price_range: Annotated[float, Meta(gt=0, lt=1)]
    vol_up: NonNegative | Unknown = 0.0
    vol_down: Annotated[float, Meta(ge=0, le=10)] | Unknown = 0.0
    vol_unit: Literal["ratio", "points"] = "ratio"
    moves: dict[str, list[float]] = {}
    vol_floor_up: NonNegative = 0.0
    short_power: Power = 0.30
    long_power: Power = 0.13
    days_floor: NonNegative = 0.0
    extended_factor: NonNegative = 1.0
    turn: Turn | None = None

    @property
    def vols_known(self) -> bool:
        """Whether both volatility shocks are figures."""
        return not (isinstance(self.vol_up, str) or isinstance(self.vol_down, str))

    def vols(self, underlying: str = "the underlying") -> tuple[float, float]:
        """Return the volatility shocks up and down.

        Raises
        ------
        RulesetError
            ``RUL-030`` when they are not published.
        """
        up, down = self.vol_up, self.vol_down
        if isinstance(up, str) or isinstance(down, str):
            raise RulesetError(
                f"the volatility shocks of {underlying} are not published, and the account holds "
                "options",
                code="RUL-030",
                field=f"scenarios.underlyings.{underlying}.vol_up",
                hint="supply vol_up and vol_down with --set or --params",
            )
        return up, down


class ScenarioSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole scenario section.

    Attributes
    ----------
    blocks : list of Block
        In the order of the table's columns.
    underlyings : dict of str to UnderlyingShocks
        Sizes by underlying; the key ``default`` serves the ones not named, when present.
    reference_days : float
        Tenor at which the volatility shocks are stated.
    reference_is_short : bool
        Whether the reference tenor itself takes the short power.
    cap_linear : bool
        Whether linear and inverse futures legs are capped at the price range in extended
        scenarios.
    horizon_days : float
        Time that passes in every scenario: options are revalued that much nearer expiry.
    """

    blocks: Annotated[list[Block], Meta(min_length=1)]
    underlyings: dict[str, UnderlyingShocks]
    reference_days: Positive = 30.0
    reference_is_short: bool = False
    cap_linear: bool = False
    horizon_days: NonNegative = 0.0

    def __post_init__(self) -> None:
        """Refuse moves that would take a price to zero or below, and turns without a size."""
        turned = any(TURNED & set(block.vols) for block in self.blocks)
        for name, shock in self.underlyings.items():
            if turned and shock.turn is None:
                raise ValueError(f"skew and smile scenarios need the turn of {name}")
        for block in self.blocks:
            if block.unit == "range":
                for name, shock in self.underlyings.items():
                    if min(block.moves) * shock.price_range <= -1:
                        raise ValueError(f"a price of {name} cannot fall by 100 % or more")
        self._check_moves()

    def _check_moves(self) -> None:
        """Refuse block names used twice and an underlying's moves that do not fit their block."""
        named = {block.name: block for block in self.blocks if block.name}
        if len(named) < sum(bool(block.name) for block in self.blocks):
            raise ValueError("two blocks have the same name")
        for name, shock in self.underlyings.items():
            for block, moves in shock.moves.items():
                if block not in named:
                    raise ValueError(f"{name} has moves for {block!r}, which is no block")
                if len(moves) != len(named[block].moves):
                    raise ValueError(f"the moves of {name} for {block!r} are not as many as its")
                if not all(math.isfinite(x) for x in moves) or min(moves) <= -1:
                    raise ValueError(f"a price of {name} cannot fall by 100 % or more")

    def shocks_for(self, underlying: str) -> UnderlyingShocks:
        """Return the sizes for an underlying.

        Raises
        ------
        RulesetError
            ``RUL-010`` when the file has neither the underlying nor a default.
        """
        found = self.underlyings.get(underlying) or self.underlyings.get("default")
        if found is None:
            raise RulesetError(
                f"the rule-set has no scenario parameters for {underlying}",
                code="RUL-010",
                field=f"scenarios.underlyings.{underlying}",
                hint=f"supply them with --params, or use a rule-set that covers {underlying}",
            )
        return found


class ScenarioSet(msgspec.Struct, frozen=True, kw_only=True):
    """The scenarios of several underlyings, column by column.

    Scenario ``s`` has the same label and volatility state for every underlying; its move differs
    with the underlying's range.

    Attributes
    ----------
    underlyings : tuple of str
        Rows of `move` and `weight`.
    move : float64[U, S]
        Move of the underlying as a fraction of its price.
    move_linear : float64[U, S]
        The same, capped for linear legs in extended scenarios.
    vol_state : int64[S]
        Index into ``VOL_STATES``.
    weight : float64[U, S]
        Share of the profit and loss that counts.
    extended : bool[S]
        Tail scenarios.
    turned : bool[S]
        Scenarios that count the loss of either direction.
    labels : tuple of tuple of str
        For people, ``labels[u][s]``.
    shocks : tuple of UnderlyingShocks
        By underlying.
    reference_days, reference_is_short
        See :class:`ScenarioSpec`.
    block : tuple of str
        Name of each column's block, empty where it has none.
    horizon_days : float
        Time that passes in every scenario.
    """

    underlyings: tuple[str, ...]
    move: NDArray[np.float64]
    move_linear: NDArray[np.float64]
    vol_state: NDArray[np.int64]
    weight: NDArray[np.float64]
    extended: NDArray[np.bool_]
    turned: NDArray[np.bool_]
    labels: tuple[tuple[str, ...], ...]
    shocks: tuple[UnderlyingShocks, ...]
    reference_days: float
    reference_is_short: bool = False
    block: tuple[str, ...] = ()
    horizon_days: float = 0.0

    @property
    def size(self) -> int:
        """Number of scenarios S."""
        return int(self.vol_state.size)


def build_scenarios(spec: ScenarioSpec, underlyings: list[str]) -> ScenarioSet:
    """Lay the blocks out as columns for the given underlyings.

    Raises
    ------
    RulesetError
        ``RUL-010`` for an underlying without parameters.
    """
    shocks = tuple(spec.shocks_for(name) for name in underlyings)
    states: list[int] = []
    extended: list[bool] = []
    names: list[str] = []
    for block in spec.blocks:
        names += [block.name] * (len(block.moves) * len(block.vols))
        for _ in block.moves:
            states += [VOL_STATES.index(vol) for vol in block.vols]
            extended += [block.extended] * len(block.vols)
    rows = [_rows(spec, shock) for shock in shocks]
    size = len(states)
    move = np.array([r[0] for r in rows], dtype=np.float64).reshape(len(rows), size)
    weight = np.array([r[1] for r in rows], dtype=np.float64).reshape(len(rows), size)
    tail = np.array(extended, dtype=np.bool_)
    reach = np.array([s.price_range for s in shocks])[:, None]
    capped = np.clip(move, -reach, reach) if spec.cap_linear else move
    state = np.array(states, dtype=np.int64)
    return ScenarioSet(
        underlyings=tuple(underlyings),
        move=move,
        move_linear=np.where(tail, capped, move),
        vol_state=state,
        weight=weight,
        extended=tail,
        turned=np.array([VOL_STATES[s] in TURNED for s in states], dtype=np.bool_),
        labels=tuple(_labels(row, state, tail) for row in move),
        shocks=shocks,
        reference_days=spec.reference_days,
        reference_is_short=spec.reference_is_short,
        block=tuple(names),
        horizon_days=spec.horizon_days,
    )


def _rows(spec: ScenarioSpec, shock: UnderlyingShocks) -> tuple[list[float], list[float]]:
    moves: list[float] = []
    weights: list[float] = []
    for block in spec.blocks:
        own = shock.moves.get(block.name)
        for index, raw in enumerate(block.moves if own is None else own):
            move = raw * shock.price_range if block.unit == "range" and own is None else raw
            if isinstance(block.weight, list):
                weight = block.weight[index]
            elif block.weight == "range/move":
                weight = shock.price_range / abs(move) * shock.extended_factor if move else 1.0
            else:
                weight = block.weight
            moves += [move] * len(block.vols)
            weights += [weight] * len(block.vols)
    return moves, weights


def _labels(
    moves: NDArray[np.float64], states: NDArray[np.int64], tail: NDArray[np.bool_]
) -> tuple[str, ...]:
    words = {
        "same": "vol same",
        "up": "vol up",
        "down": "vol down",
        "skew": "skew turned",
        "smile": "smile turned",
    }
    return tuple(
        f"{move:+.4g}% price, {words[VOL_STATES[state]]}{' (tail)' if far else ''}".replace(
            "+0% price", "0% price"
        )
        for move, state, far in zip(np.round(moves * 100, 6), states, tail)
    )
