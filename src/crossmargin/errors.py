"""The one hierarchy of errors: every message names what is wrong, where, and what to do.

Each class of fault has a stable ``code`` (``INP-003``), so that callers match on codes and
not on wording. ``account``, ``instrument`` and ``field`` say where; ``hint`` says what to do.
"""

from __future__ import annotations

from typing import Any


class CrossmarginError(Exception):
    """Base class: something the caller can mend.

    Parameters
    ----------
    message : str
        One clear sentence without a trailing full stop.
    code : str
        Stable code, for example ``"INP-001"``.
    account, instrument, field : str, optional
        Where the fault lies.
    hint : str, optional
        What to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        account: str | None = None,
        instrument: str | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.account = account
        self.instrument = instrument
        self.field = field
        self.hint = hint

    def __str__(self) -> str:
        """Return the sentence a person reads: code, place, message, remedy."""
        where = [
            f"{name} {value!r}"
            for name, value in (
                ("account", self.account),
                ("instrument", self.instrument),
                ("field", self.field),
            )
            if value is not None and repr(value) not in self.message
        ]
        place = f" ({', '.join(where)})" if where else ""
        remedy = f" {_capital(self.hint[0])}{self.hint[1:]}." if self.hint else ""
        return _one_line(f"{self.code}: {self.message}{place}.{remedy}")

    def located(self, **where: str | None) -> CrossmarginError:
        """Fill in the places that were not known where the error arose, and return self."""
        for name, value in where.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        return self

    def copy(self) -> CrossmarginError:
        """Return an error with the same words, whose place can be filled in for itself."""
        return _restored(type(self), self.as_dict())

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process with all its places."""
        return _restored, (type(self), self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the error as plain data, for JSON output and batch results."""
        return {
            "code": self.code,
            "message": self.message,
            "account": self.account,
            "instrument": self.instrument,
            "field": self.field,
            "hint": self.hint,
        }


def _capital(letter: str) -> str:
    # A symbol is not a word: σ stays what it is.
    return letter.upper() if letter.isascii() else letter


def _restored(kind: type[CrossmarginError], words: dict[str, Any]) -> CrossmarginError:
    return kind(words["message"], **{k: v for k, v in words.items() if k != "message"})


class InputError(CrossmarginError):
    """Unknown instrument, bad quantity, malformed file, wrong option on the command line."""


class MarketDataError(CrossmarginError):
    """A price, forward, volatility or rate is missing, stale or impossible."""


class PricingError(CrossmarginError):
    """A value outside the domain of a pricing formula, or no convergence."""


class RulesetError(CrossmarginError):
    """A rule-set file is malformed, or lacks a parameter that this account needs."""


class MarginError(CrossmarginError):
    """A position that a margin model does not support, or a question without an answer."""


class LiquidationError(CrossmarginError):
    """A liquidation rule that is malformed, or a state of affairs that it cannot decide on."""


class CascadeError(CrossmarginError):
    """A population, a rule of price impact or a path that no simulation can start from."""


class PlanningError(CrossmarginError):
    """A plan that cannot be made of these figures: a limit nobody can meet, a series too short."""


class LedgerError(CrossmarginError):
    """An event that the ledger refuses: nothing has moved."""


class StoreError(CrossmarginError):
    """A ledger's file or database: not there, held by another writer, damaged, full."""


class InvariantViolation(AssertionError):
    """A broken law of the code itself: never caught below the process boundary."""


def invariant(condition: bool, message: str) -> None:
    """Raise :class:`InvariantViolation` unless `condition` holds (also under ``python -O``)."""
    if not condition:
        raise InvariantViolation(message)


def _one_line(text: str) -> str:
    """Write line breaks and control characters of names out: a sentence stays a sentence."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
