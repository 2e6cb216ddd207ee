"""What a page on a large book says: rules, totals, states, accounts, concentration, failures."""

from __future__ import annotations

from typing import Literal

import msgspec


class BookRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rule-set a book was margined under.

    Attributes
    ----------
    gaps : list of str
        What has no source.
    overrides : list of str
        Parameters supplied with the call.
    """

    id: str
    title: str
    effective_from: str
    hash: str
    gaps: list[str]
    overrides: list[str]


class BookTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the accounts that were computed, US dollars."""

    equity_usd: float
    equity_im_usd: float
    im_usd: float
    mm_usd: float


class StateCount(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts in one state.

    Attributes
    ----------
    accounts : int
        How many.
    share : float
        Of all accounts of the book.
    equity_usd, im_usd, mm_usd : float
        Sums over them; 0 where they failed.
    deficit_mm_usd : float
        Sum of MM − equity where positive.
    """

    state: str
    accounts: int
    share: float
    equity_usd: float
    im_usd: float
    mm_usd: float
    deficit_mm_usd: float


class ComponentTotal(msgspec.Struct, frozen=True, kw_only=True):
    """One component over all accounts, before the rule-set combines them; US dollars."""

    name: str
    im_usd: float
    mm_usd: float


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One account; US dollars.

    Attributes
    ----------
    excess_im_usd, excess_mm_usd : float
        Equity less requirement.
    health : float or None
        Equity / MM of its weakest pot; None where nothing is required.
    im_share : float
        Of the initial margin of the whole book.
    """

    account: str
    equity_usd: float
    im_usd: float
    mm_usd: float
    excess_im_usd: float
    excess_mm_usd: float
    health: float | None
    state: str
    im_share: float


class LargestShare(msgspec.Struct, frozen=True, kw_only=True):
    """Share of the initial margin that the largest accounts owe."""

    accounts: int
    im_share: float


class Concentration(msgspec.Struct, frozen=True, kw_only=True):
    """How the initial margin is spread over accounts.

    Attributes
    ----------
    hhi : float or None
        Herfindahl–Hirschman index: sum of the squared shares, 1 / n for n equal accounts, 1 for
        one; None where nothing is required.
    equal_accounts : float or None
        1 / HHI: as many equal accounts would be as concentrated.
    shares : list of LargestShare
        Of the largest 1, 10, 100, ... accounts.
    largest : list of AccountRow
        By initial margin, largest first.
    """

    hhi: float | None
    equal_accounts: float | None
    shares: list[LargestShare]
    largest: list[AccountRow]


class UnderlyingRow(msgspec.Struct, frozen=True, kw_only=True):
    """Positions in one underlying over all accounts, US dollars of notional.

    Options count with the notional of their contracts, whatever their delta.

    Attributes
    ----------
    net_usd : float
        Long less short, instrument by instrument at its own mark or forward.
    gross_usd : float
        Long and short.
    accounts : int
        That hold any.
    """

    underlying: str
    net_usd: float
    gross_usd: float
    accounts: int


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts that could not be computed for one reason.

    Attributes
    ----------
    account, message : str
        The first of them, as an example.
    """

    code: str
    accounts: int
    account: str
    message: str


class BookSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A margined book in a page.

    Attributes
    ----------
    as_of, at : str
        Moments of the market and of the valuation.
    accounts, computed, positions : int
        Accounts of the book, those with numbers, and positions (resting orders not counted).
    rejected : int
        Accounts set aside when the book was read; among the failed.
    engine : str
        How it was computed.
    worst_by_excess, worst_by_health : list of AccountRow
        The lowest equity − MM, and the lowest health; worst first.
    unpriced : list of str
        Instruments without a price here, left out of `underlyings`.
    warnings : list of str
        What a reader should know before trusting the numbers.
    """

    format: Literal["crossmargin-book-summary/1"] = "crossmargin-book-summary/1"
    ruleset: BookRules
    market: str
    as_of: str
    at: str
    accounts: int
    computed: int
    rejected: int
    positions: int
    engine: str
    totals: BookTotals
    states: list[StateCount]
    components: list[ComponentTotal]
    worst_by_excess: list[AccountRow]
    worst_by_health: list[AccountRow]
    concentration: Concentration
    underlyings: list[UnderlyingRow]
    unpriced: list[str]
    failures: list[FailureRow]
    warnings: list[str]
