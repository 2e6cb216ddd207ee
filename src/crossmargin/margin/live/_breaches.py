"""What an event did to the accounts of a live book."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.margin.live._kernels import BELOW_IM, BELOW_MM, BITS, FAILED, OUTCOME

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """What one event did to the accounts; numbers of accounts, rising.

    Attributes
    ----------
    fallen, recovered : int64[...]
        Newly below maintenance margin in one of their pots, and no longer.
    short, covered : int64[...]
        Newly below initial margin in one of their pots, and no longer.
    failed, restored : int64[...]
        Can no longer be computed, and can again. A failed account is on no side of a line.
    visited : int
        Accounts whose totals were computed anew; with trigger prices, those looked at.
    """

    fallen: Ints
    recovered: Ints
    short: Ints
    covered: Ints
    failed: Ints
    restored: Ints
    visited: int


def coded(accounts: Ints, state: NDArray[np.uint8]) -> Ints:
    """Return accounts with the outcome on which they stand, as compiled code notes them."""
    return np.asarray(accounts << BITS | (state[accounts] & OUTCOME))


def merged(before: Ints, changed: Ints) -> Ints:
    """Join accounts that changed earlier and later (`coded`): how they stood first counts."""
    if not before.size:
        return changed
    both = np.concatenate([before, changed])
    _, first = np.unique(both >> BITS, return_index=True)
    return both[first]


def breaches(changed: Ints, state: NDArray[np.uint8], visited: int) -> Breaches:
    """Say what became of accounts.

    Parameters
    ----------
    changed : int64[...]
        Accounts with the outcome on which they stood (`coded`), rising.
    state : uint8[A]
        Where all accounts stand now.
    visited : int
        How many were computed.
    """
    account = changed >> BITS
    was, now = changed & OUTCOME, state[account]

    def came(bit: int) -> Ints:
        return np.asarray(account[(now & bit != 0) & (was & bit == 0)])

    def went(bit: int) -> Ints:
        return np.asarray(account[(now & bit == 0) & (was & bit != 0)])

    return Breaches(
        fallen=came(BELOW_MM),
        recovered=went(BELOW_MM),
        short=came(BELOW_IM),
        covered=went(BELOW_IM),
        failed=came(FAILED),
        restored=went(FAILED),
        visited=visited,
    )
