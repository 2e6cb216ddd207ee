"""The trial balance: what every kind of line holds, asset by asset, and that it sums to nothing.

Source: double-entry book-keeping; the lines are those of ``docs/models/ledger.md``. Residues of
rounding have a line of their own there (``sys:rounding``) and are shown by it.
"""

from __future__ import annotations

import msgspec

from crossmargin.accounts.amounts import text_of
from crossmargin.accounts.chart import CONTRACT, ROUNDING, SYSTEM
from crossmargin.accounts.state import State

TRADERS = "traders"


class BalanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of line in one asset.

    Attributes
    ----------
    asset : str
        Or ``contract:INSTRUMENT``: contracts are an asset too.
    line : str
        A line of the house by its name; lines of traders by kind (``traders:wallet``).
    balance : str
        Exact decimal text.
    """

    asset: str
    line: str
    balance: str


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, what each asset sums to, and what rounding has left over.

    Attributes
    ----------
    events : int
        Applied so far.
    rows : list of BalanceRow
        By asset and line; lines at 0 are left out.
    sums : dict of str to str
        By asset, over all its lines: "0".
    rounding : dict of str to str
        Residues by asset: what payers paid more than receivers received.
    """

    events: int
    rows: list[BalanceRow]
    sums: dict[str, str]
    rounding: dict[str, str]


def trial_balance(state: State) -> TrialBalance:
    """Return the trial balance of a state.

    Raises
    ------
    InvariantViolation
        Where an asset does not sum to 0: a fault of the code.
    """
    state.audit()
    rows, sums, rounding = list[BalanceRow](), dict[str, str](), dict[str, str]()
    for asset in sorted(state.ledger.by_asset):
        decimals = _decimals(state, asset)
        kinds: dict[str, int] = {}
        for line in state.ledger.by_asset[asset]:
            kind = _kind(line.name)
            kinds[kind] = kinds.get(kind, 0) + line.balance
        rows += [
            BalanceRow(asset=asset, line=kind, balance=text_of(quanta, decimals))
            for kind, quanta in sorted(kinds.items())
            if quanta
        ]
        sums[asset] = text_of(sum(kinds.values()), decimals)
        if kinds.get(ROUNDING):
            rounding[asset] = text_of(kinds[ROUNDING], decimals)
    return TrialBalance(events=state.count, rows=rows, sums=sums, rounding=rounding)


def _kind(line: str) -> str:
    """Return the row that a line belongs to: traders' by kind, the house's by name."""
    if line.startswith(SYSTEM + ":"):
        return line
    return f"{TRADERS}:{line.partition(':')[2].partition(':')[0].partition('@')[0]}"


def _decimals(state: State, asset: str) -> int:
    if asset.startswith(CONTRACT):
        return state.contracts[asset.removeprefix(CONTRACT)].quantity_decimals
    return state.asset(asset).decimals
