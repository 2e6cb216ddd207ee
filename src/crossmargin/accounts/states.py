"""The ladder of states: healthy, warning, reduce-only, liquidating, bankrupt.

A pot goes down at a line and comes up at the same line widened by a band, so that a price which
trembles on a line does not ring a bell at every tick:

======================  =====================================  ==================================
from here               down to it when                        up from it when
======================  =====================================  ==================================
warning                 equity < warning × IM                  equity ≥ warning × IM × (1 + band)
reduce-only             equity < IM                            equity ≥ IM × (1 + band)
liquidating             equity < MM                            equity ≥ MM × (1 + band)
bankrupt                equity < 0                             equity ≥ 0
======================  =====================================  ==================================

Source: requirements row A26 (the states and what each allows); the lines of reduce-only,
liquidating and bankrupt are those of :mod:`crossmargin.margin.states`; warning line and band are
the caller's or the house's (``ladder.toml``, house).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from typing import Literal, get_args

import msgspec

from crossmargin.errors import LedgerError

AccountState = Literal["healthy", "warning", "reduce-only", "liquidating", "bankrupt"]

#: From best to worst.
LADDER: tuple[AccountState, ...] = get_args(AccountState)

Action = Literal[
    "deposit",
    "withdraw",
    "transfer-out",
    "borrow",
    "risk-adding-order",
    "risk-cutting-order",
    "take-on-position",
    "finish-withdrawal",
]

_ALL: frozenset[Action] = frozenset(get_args(Action))
_CUT: frozenset[Action] = frozenset({"deposit", "risk-cutting-order", "finish-withdrawal"})
_PAY_IN: frozenset[Action] = frozenset({"deposit"})

#: What the holder of a pot may do of his own will, by its state. ``warning`` allows everything
#: and sends a call; a liquidator acts in ``liquidating`` and ``bankrupt`` whatever stands here.
ALLOWS: dict[AccountState, frozenset[Action]] = {
    "healthy": _ALL,
    "warning": _ALL,
    "reduce-only": _CUT,
    "liquidating": _PAY_IN,
    "bankrupt": _PAY_IN,
}


def states_allowing(action: Action) -> tuple[AccountState, ...]:
    """Return the states in which an action is allowed, best first."""
    return tuple(state for state in LADDER if action in ALLOWS[state])


class _LadderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Shipped figures of the ladder."""

    warning: float
    band: float
    source: str
    date: str
    confidence: Literal["house"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Lines between states.

    Attributes
    ----------
    warning : float
        The warning line as a multiple of IM, at least 1.
    band : float
        How far above a line equity must be to come up again, relative, at least 0.
    """

    warning: float
    band: float

    def __post_init__(self) -> None:
        """Refuse lines in the wrong order."""
        if not (self.warning >= 1.0 and self.band >= 0.0):
            raise LedgerError(
                f"a warning line at {self.warning} × IM with a band of {self.band}",
                code="LED-018",
                field="ladder",
                hint="give a warning line of at least 1 and a band of at least 0",
            )

    def state(
        self,
        equity: float,
        im: float,
        mm: float,
        now: AccountState = "healthy",
        *,
        equity_mm: float | None = None,
    ) -> AccountState:
        """Return the state that follows `now`.

        Parameters
        ----------
        equity, im, mm : float
            In one unit; requirements at least 0 and IM at least MM.
        now : str
            The state so far, from which alone hysteresis comes.
        equity_mm : float, optional
            Equity as it counts against MM, where haircuts differ between the levels.
        """
        low = equity if equity_mm is None else equity_mm
        have = (equity, equity, low, low)
        lines = (self.warning * im, im, mm, 0.0)
        for depth in range(len(LADDER) - 1, 0, -1):
            held = LADDER.index(now) >= depth
            line = lines[depth - 1] * (1.0 + self.band if held else 1.0)
            if have[depth - 1] < line:
                return LADDER[depth]
        return "healthy"


@lru_cache(maxsize=1)
def house_ladder() -> Ladder:
    """Return the shipped ladder (house figures)."""
    raw = resources.files("crossmargin.accounts").joinpath("ladder.toml").read_bytes()
    found = msgspec.toml.decode(raw, type=_LadderFile)
    return Ladder(warning=found.warning, band=found.band)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state on a timeline."""

    at: int
    before: AccountState
    after: AccountState


def timeline(
    ladder: Ladder, rows: Sequence[tuple[int, float, float, float]], start: AccountState = "healthy"
) -> list[Change]:
    """Walk through moments (time, equity, IM, MM) and return the changes of state.

    Raises
    ------
    LedgerError
        ``LED-018`` for times that run backwards: hysteresis has a direction.
    """
    if any(b[0] < a[0] for a, b in pairwise(rows)):
        raise LedgerError("the moments run backwards", code="LED-018", field="rows")
    now, found = start, []
    for at, equity, im, mm in rows:
        after = ladder.state(equity, im, mm, now)
        if after != now:
            found.append(Change(at, now, after))
        now = after
    return found
