"""What a gate answers."""

from __future__ import annotations

import math

import msgspec

from crossmargin.errors import CrossmarginError

#: Names of the rules, by the compiled decision's numbers.
RULES = ("room", "reducing", "refused", "debt")

NAN = math.nan


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why a question has no answer: the words of :class:`crossmargin.errors.CrossmarginError`."""

    code: str
    message: str
    account: str | None
    instrument: str | None
    field: str | None
    hint: str | None


class GateCheck(msgspec.Struct, frozen=True, gc=False):
    """Whether an order may be placed, US dollars.

    A msgspec struct that the garbage collector does not follow: it costs a tenth of a
    microsecond to make, and a million of them start no collection.

    Attributes
    ----------
    account : int or str
        Number of the account, or as it was asked for where there is none.
    instrument : str or int
        What the order is in, as it was asked for; the first leg's where it has several.
    accepted : bool
    rule : str
        What decided, as in :class:`crossmargin.margin.pretrade.OrderCheck`: ``room``,
        ``reducing``, ``refused``, ``protect`` or ``debt``; ``invalid`` where the question or the
        account could not be judged.
    pot : str
        The pot with the least excess, among those that the order touches.
    equity_usd, im_before_usd, im_after_usd : float
        Sums over the touched pots: equity now, initial margin now and with the order resting.
    excess_usd : float
        Least excess of a touched pot, resting or at a share of the fill.
    rounding_usd : float
        Bound on rounding, below which a negative excess is read as 0.
    debt_usd : float
        Largest rise of a debt by the fill; 0 where debts are allowed.
    engine : str
        ``fused``, or ``reference`` where :mod:`crossmargin.margin.pretrade` was asked.
    fault : Fault or None
        What is wrong, where the rule is ``invalid``; figures are then NaN.
    """

    account: int | str
    instrument: str | int
    accepted: bool
    rule: str
    pot: str
    equity_usd: float
    im_before_usd: float
    im_after_usd: float
    excess_usd: float
    rounding_usd: float
    debt_usd: float
    engine: str
    fault: Fault | None = None

    @property
    def field(self) -> str:
        """The field of the question to change: ``quantity``, or where the fault lies."""
        if self.fault is not None:
            return self.fault.field or ""
        return "" if self.accepted else "quantity"

    @property
    def reason(self) -> str:
        """One sentence, made when it is asked for."""
        if self.fault is not None:
            words = msgspec.structs.asdict(self.fault)
            return str(CrossmarginError(words.pop("message"), **words))
        said = _said(self)
        if self.accepted:
            return said
        return f"account {self.account}, {self.instrument}: {said}"


def _said(found: GateCheck) -> str:
    excess = f"{abs(found.excess_usd):,.2f} USD"
    if found.rule == "room":
        return (
            f"initial margin after the worst fills is covered: {found.pot} keeps an excess of "
            f"{excess}"
        )
    if found.rule == "reducing":
        none = "no fill of it raises the initial margin or lowers the excess"
        if found.excess_usd >= 0:
            return none
        return f"{none}, so it passes although {found.pot} lacks {excess} of initial margin"
    if found.rule == "protect":
        return "no new risk is allowed now, and a fill can leave the account worse off"
    if found.rule == "debt":
        return (
            f"its fill would leave or deepen a debt of {found.debt_usd:,.2f} USD, which is not "
            "allowed"
        )
    return (
        f"after the worst fills {found.pot} would lack {max(-found.excess_usd, 0.0):,.6g} USD of "
        "initial margin, and the order does not only reduce risk"
    )


def invalid(account: object, instrument: object, error: CrossmarginError) -> GateCheck:
    """Say that a question has no answer, and why."""
    return GateCheck(
        account if isinstance(account, int | str) else repr(account),
        instrument if isinstance(instrument, int | str) else repr(instrument),
        False, "invalid", "", NAN, NAN, NAN, NAN, NAN, NAN, "none",
        Fault(
            error.code, error.message, error.account, error.instrument, error.field, error.hint
        ),
    )  # fmt: skip
