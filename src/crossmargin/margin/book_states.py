"""States of many accounts at once, from the columns of a large book.

The words are those of :mod:`crossmargin.margin.states`; two more are needed where a statement is
not made of every account: ``protected`` (a price it touches is not trusted: its numbers liquidate
nobody) and ``failed`` (it could not be computed).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.at_scale import BookColumns
from crossmargin.margin.components import MEANINGS, StateBand
from crossmargin.margin.ruleset import Ruleset

#: States of an account of a large book; an array of states holds indices into this.
ACCOUNT_STATES: tuple[str, ...] = (*MEANINGS, "protected", "failed")

LIQUIDATION = MEANINGS.index("liquidation")
BANKRUPT = MEANINGS.index("bankrupt")
PROTECTED = ACCOUNT_STATES.index("protected")
FAILED = ACCOUNT_STATES.index("failed")

Codes = NDArray[np.int8]


def states_by_numbers(columns: BookColumns, rules: Ruleset) -> Codes:
    """Return the state of every account by its numbers, whatever its prices are worth.

    Where the rule-set draws its own liquidation line, that line decides over equity = MM, as in
    :func:`crossmargin.margin.states.pot_state`.

    Parameters
    ----------
    columns : BookColumns
        US dollars.
    rules : Ruleset
        Whose states hold.

    Returns
    -------
    int8[A]
        Indices into ``ACCOUNT_STATES``: 0 to 3, and ``FAILED`` where there are no numbers.

    Notes
    -----
    Lines of a ratio are held against the account's weakest pot; lines of an amount, and equity
    against IM, against the account's sums. An account of one pot therefore has the state of its
    statement. Of several pots, one that lacks initial margin beside another with a surplus shows
    in the statement and not here.
    """
    failed = np.isnan(columns.health)
    bands = rules.data.states
    state = np.where(columns.equity_im < columns.im, 1, 0).astype(np.int8)
    if not any(band.meaning == "liquidation" for band in bands):
        state[columns.health < 1.0] = LIQUIDATION
    state[columns.health < 0.0] = BANKRUPT
    for band in bands:
        code = MEANINGS.index(band.meaning)
        np.maximum(state, np.where(_holds(columns, band), code, 0), out=state, casting="unsafe")
    state[failed] = FAILED
    return state


def account_states(columns: BookColumns, rules: Ruleset) -> Codes:
    """Return the state of every account: by its numbers, ``protected`` or ``failed``.

    Parameters
    ----------
    columns : BookColumns
        US dollars.
    rules : Ruleset
        Whose states hold.

    Returns
    -------
    int8[A]
        Indices into ``ACCOUNT_STATES``.
    """
    state = states_by_numbers(columns, rules)
    state[columns.protected & (state != FAILED)] = PROTECTED
    return state


def below_line(columns: BookColumns, rules: Ruleset) -> NDArray[np.bool_]:
    """Return which accounts may be liquidated: below the line, on prices that are trusted.

    The line is equity = MM unless the rule-set's states put it elsewhere. An account that failed
    is not below it: nothing is known.
    """
    state = account_states(columns, rules)
    below: NDArray[np.bool_] = (state == LIQUIDATION) | (state == BANKRUPT)
    return below


def _holds(columns: BookColumns, band: StateBand) -> NDArray[np.bool_]:
    factor, amount = band.line
    inclusive = band.at_most is not None or band.at_least is not None
    if band.ratio in ("equity/mm", "mm/equity"):
        # A pot that nothing is required of is in no band of a ratio.
        gap = np.where(np.isfinite(columns.health), columns.health - factor, np.nan)
    else:
        gap = columns.equity - factor * columns.mm - amount
    return np.asarray((gap < 0) | (inclusive & (gap == 0)))
