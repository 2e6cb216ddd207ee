"""What a mark did, as it is taken down: losses and who bore them."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossmargin.liquidation.engine import TrailStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Who bore what one account could not, in quanta of one asset.

    Attributes
    ----------
    pot, asset : str
        Whose, and in what.
    deficit : int
        The sum of the others.
    fund, adl, shared, uncovered : int
        By layer; what is uncovered stands on the liquidator (or on the pot itself).
    fund_left : dict of str to int
        What the funds that were called upon have left, by group.
    """

    pot: str
    asset: str
    deficit: int
    fund: int
    adl: int
    shared: int
    uncovered: int
    fund_left: dict[str, int]


@dataclass(slots=True)
class Borne:
    """What the losses of one account in one asset came to, by the groups of its contracts.

    A fund may pay what the layers lay on it, what hedge legs that cancelled have lost, and an old
    debt of the liquidator.
    """

    by_fund: dict[str, int] = field(default_factory=dict)
    by_other: dict[str, int] = field(default_factory=dict)
    by_holders: int = 0

    def may_pay(self, group: str, quanta: int) -> None:
        """Let a fund pay so much more of it."""
        self.by_fund[group] = self.by_fund.get(group, 0) + quanta

    def caps(self, trades: int) -> dict[str, int | None]:
        """Return what each fund may pay, four quanta a position for the roundings of its trades."""
        return {group: quanta + 4 * trades for group, quanta in self.by_fund.items()}


@dataclass(slots=True)
class Seen:
    """What a tick has done so far."""

    breached: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    trail: list[tuple[str, TrailStep]] = field(default_factory=list)
    closed: float = 0.0
    taken_over: int = 0
    deleveraged: int = 0
    fund_paid: int = 0
    shared: int = 0
