"""Options that say how coins move together: daily standard deviations and correlations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from crossmargin.cli._assigned import assignments, unreadable
from crossmargin.errors import InputError

if TYPE_CHECKING:
    from crossmargin.analytics import RiskModel
    from crossmargin.market import Snapshot

Pairs = dict[tuple[str, str], float]

SigmaOpt = Annotated[
    list[str] | None,
    Parameter(
        help="Daily standard deviation of a coin: BTC=0.03; by default what its options say, or "
        "its history where one is given. Repeatable."
    ),
]
CorrOpt = Annotated[
    list[str] | None,
    Parameter(help="Correlation of two coins: BTC,ETH=0.8; default 0.8. Repeatable."),
]


def given_moves(sigma: list[str] | None, corr: list[str] | None) -> tuple[dict[str, float], Pairs]:
    """Read daily standard deviations by coin and correlations by pair."""
    pairs = {}
    for text, value in assignments(corr, "--corr", "BTC,ETH=0.8").items():
        a, comma, b = text.partition(",")
        if not comma:
            raise unreadable(f"{text}={value:g}", "--corr", "BTC,ETH=0.8")
        pairs[a.strip(), b.strip()] = value
    return assignments(sigma, "--sigma", "BTC=0.03"), pairs


def must_move(given: dict[str, float], pairs: Pairs, coins: Iterable[str]) -> None:
    """Refuse figures of a coin that does not move the account.

    Raises
    ------
    InputError
        ``INP-013`` naming it, and those that do.
    """
    known = sorted(coins)
    named = {*given, *(name for pair in pairs for name in pair)}
    if strangers := sorted(named.difference(known)):
        raise InputError(
            f"{strangers[0]!r} moves nothing in this account",
            code="INP-013",
            field="--sigma" if strangers[0] in given else "--corr",
            hint=f"one of {', '.join(known)}",
        )


def daily_model(
    world: Snapshot, coins: list[str], given: dict[str, float], pairs: Pairs
) -> RiskModel:
    """Return the market's own daily moves, with what the user gives instead."""
    from crossmargin.analytics import RiskModel, default_risk_model

    base = default_risk_model(world, coins)
    must_move(given, pairs, base.sigma)
    return RiskModel(sigma={**base.sigma, **given}, correlation=base.correlation, pairs=pairs)
