"""What happened to the money: events, a double-entry ledger, and the state they make."""

from __future__ import annotations

from crossmargin.accounts.amounts import (
    ONE,
    PLACES,
    Scales,
    ceil_div,
    fixed,
    floor_div,
    from_quanta,
    nearest_div,
    scaled,
    text_of,
    to_quanta,
    toward_zero_div,
)
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.events import Event
from crossmargin.accounts.interest import CashPool, Curve, burnt_for, growth, utilisation
from crossmargin.accounts.ledger import Ledger, Transfer
from crossmargin.accounts.pots import Account, Position, Pot
from crossmargin.accounts.replay import (
    Applied,
    BadLine,
    Duplicate,
    Guard,
    Outcome,
    Refused,
    apply,
    fingerprint,
    parse_events,
    payload,
    read_events,
    replay,
)
from crossmargin.accounts.state import Pending, State

__all__ = [
    "ONE",
    "PLACES",
    "Account",
    "Applied",
    "BadLine",
    "CashPool",
    "Contract",
    "Curve",
    "Duplicate",
    "Event",
    "Guard",
    "Ledger",
    "Outcome",
    "Pending",
    "Position",
    "Pot",
    "Refused",
    "Scales",
    "State",
    "Transfer",
    "apply",
    "burnt_for",
    "ceil_div",
    "fingerprint",
    "fixed",
    "floor_div",
    "from_quanta",
    "growth",
    "nearest_div",
    "parse_events",
    "payload",
    "read_events",
    "replay",
    "scaled",
    "text_of",
    "to_quanta",
    "toward_zero_div",
    "utilisation",
]
