"""What happened to the money: events, a double-entry ledger, and the state they make."""

from __future__ import annotations

from crossmargin.accounts._encoding import fingerprint, payload
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
from crossmargin.accounts.pnl import CAUSES, Attribution, begin
from crossmargin.accounts.pots import Account, Position, Pot
from crossmargin.accounts.project import (
    MarginGuard,
    margin_lines,
    next_states,
    order_allowed,
    project_account,
    project_book,
    registry_of,
)
from crossmargin.accounts.replay import (
    Applied,
    BadLine,
    Duplicate,
    Guard,
    Outcome,
    Refused,
    apply,
    parse_events,
    read_events,
    replay,
)
from crossmargin.accounts.snapshot import restore, snapshot
from crossmargin.accounts.standing import (
    Money,
    TreeNode,
    account_tree,
    average_entry,
    money_of,
    open_interest,
    unrealised,
    withdrawable,
)
from crossmargin.accounts.state import Pending, State
from crossmargin.accounts.states import (
    ALLOWS,
    LADDER,
    AccountState,
    Ladder,
    house_ladder,
    timeline,
)

__all__ = [
    "ALLOWS",
    "CAUSES",
    "LADDER",
    "ONE",
    "PLACES",
    "Account",
    "AccountState",
    "Applied",
    "Attribution",
    "BadLine",
    "CashPool",
    "Contract",
    "Curve",
    "Duplicate",
    "Event",
    "Guard",
    "Ladder",
    "Ledger",
    "MarginGuard",
    "Money",
    "Outcome",
    "Pending",
    "Position",
    "Pot",
    "Refused",
    "Scales",
    "State",
    "Transfer",
    "TreeNode",
    "account_tree",
    "apply",
    "average_entry",
    "begin",
    "burnt_for",
    "ceil_div",
    "fingerprint",
    "fixed",
    "floor_div",
    "from_quanta",
    "growth",
    "house_ladder",
    "margin_lines",
    "money_of",
    "nearest_div",
    "next_states",
    "open_interest",
    "order_allowed",
    "parse_events",
    "payload",
    "project_account",
    "project_book",
    "read_events",
    "registry_of",
    "replay",
    "restore",
    "scaled",
    "snapshot",
    "text_of",
    "timeline",
    "to_quanta",
    "toward_zero_div",
    "unrealised",
    "utilisation",
    "withdrawable",
]
