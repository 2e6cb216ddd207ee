"""Writing a run down, step after step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossmargin.cascade._measure import Marks
from crossmargin.cascade._outside import Outside
from crossmargin.cascade._round import Tally
from crossmargin.cascade._venue import Venue
from crossmargin.cascade.result import CascadeResult

Floats = NDArray[np.float64]


class Paths:
    """Paths of a run, and its result at the end."""

    def __init__(self, steps: int, outside: Outside, venue: Venue, now: Marks) -> None:
        k, j = venue.quanta.size, now.mark.size
        states = {
            "price": j,
            "exogenous": j,
            "depth": k,
            "open_interest": k,
            "funding_rate": k,
            "leverage": 0,
            "fund": 0,
            "backstop": 0,
            "absorber": 0,
            "external": 0,
        }
        flows = {"sold": k, "bought": k, "adl": k}
        flows |= {"fees": 0, "bad_debt": 0, "socialised": 0, "adl_loss": 0}
        self._backstop = venue.backstop
        self._of: dict[str, Any] = {
            name: np.zeros((steps + 1, n) if n else steps + 1) for name, n in states.items()
        }
        self._of |= {name: np.zeros((steps, n) if n else steps) for name, n in flows.items()}
        self._flows = (*flows, "rounds", "breached", "liquidated")
        for name in ("rounds", "breached", "liquidated"):
            self._of[name] = np.zeros(steps, dtype=np.int64)
        start, length = outside.market.start_ns, outside.market.step_ns
        self._of["times_ns"] = start + length * np.arange(steps + 1, dtype=np.int64)
        self._state(0, outside, venue, now)

    def write(self, step: int, outside: Outside, venue: Venue, now: Marks, tally: Tally) -> None:
        """Write a step that has ended."""
        for name in self._flows:
            self._of[name][step] = getattr(tally, name)
        self._state(step + 1, outside, venue, now)

    def _state(self, row: int, outside: Outside, venue: Venue, now: Marks) -> None:
        found = {
            "price": outside.mark,
            "exogenous": outside.exogenous,
            "depth": outside.depth,
            "open_interest": venue.open_interest,
            "funding_rate": outside.rate,
            "leverage": venue.leverage(now),
            "fund": venue.fund,
            "backstop": venue.backstop - self._backstop,
            "absorber": venue.absorber(now),
            "external": venue.external,
        }
        for name, value in found.items():
            self._of[name][row] = value

    def result(self, **more: Any) -> CascadeResult:
        """Put the result together."""
        return CascadeResult(**self._of, **more)
