"""What capital is given to, and what a plan says."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One unit of something that capital can be given to.

    Attributes
    ----------
    name : str
    profit : float
        Expected a period, US dollars a unit.
    im : float
        Initial margin a unit, where the plan adds margins up.
    most : float
        Units at most.
    venue : str
        Where it is held.
    """

    name: str
    profit: float
    im: float
    most: float = math.inf
    venue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationLine:
    """What a strategy gets.

    Attributes
    ----------
    name, venue : str
    units : float
    im, profit : float
        Of all its units, US dollars; margins summed as if alone.
    shortfall : float
        Its Euler share of the plan's expected shortfall.
    return_on_margin : float or None
        Profit over margin.
    """

    name: str
    venue: str
    units: float
    im: float
    profit: float
    shortfall: float
    return_on_margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueCapital:
    """What a plan needs at one venue, US dollars.

    Attributes
    ----------
    venue : str
    im : float
        Margin of what is held there: venues do not net with each other.
    reserve : float
        Stays free there; 0 where nothing is held.
    capital : float
        Both: what must be there.
    balance : float or None
        What is there and cannot be moved; None where money goes where it is wanted.
    """

    venue: str
    im: float
    reserve: float
    capital: float
    balance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A plan.

    Attributes
    ----------
    lines : tuple of AllocationLine
        Every strategy.
    profit, im, shortfall : float
        Of the plan, US dollars a period; `im` as the plan counts it.
    liquidation : float
        Share of scenarios that lose the buffer over maintenance margin.
    binding : tuple of str
        Limits that are met with equality.
    level : float
        Of the shortfall.
    venues : tuple of VenueCapital
        By venue, where strategies name one.
    unplaced : float
        Equity that no venue needs, US dollars; where balances are given, over those venues too.
    """

    lines: tuple[AllocationLine, ...]
    profit: float
    im: float
    shortfall: float
    liquidation: float
    binding: tuple[str, ...]
    level: float
    venues: tuple[VenueCapital, ...] = ()
    unplaced: float = 0.0
