"""The margin statement as data: what is printed, drawn, stored and compared.

All amounts named ``_usd`` are US dollars; others say their asset. Quantities keep their sign,
requirements are at least 0.
"""

from __future__ import annotations

from typing import Any

import msgspec

from crossmargin.book import AccountFile
from crossmargin.market import MarketFile

STATEMENT_FORMAT = "crossmargin-statement/1"


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Plain immutable data."""


class Hashes(_Data, frozen=True, kw_only=True):
    """SHA-256 of what went in: account, market, rule-set; and the code's version."""

    account: str
    market: str
    ruleset: str
    code_version: str


class RulesetInfo(_Data, frozen=True, kw_only=True):
    """Which rules, and how well they are known."""

    id: str
    title: str
    venue: str
    effective_from: str
    complete: bool
    complete_here: bool
    gaps_here: list[str]
    gaps: list[str]
    overrides: list[str]
    limits: list[str]


class Totals(_Data, frozen=True, kw_only=True):
    """The account in US dollars.

    `equity` counts at the maintenance level: at market less `haircut_mm`. `equity_im` counts at
    the initial level: at market less `haircut`. Both haircuts cover caps and the weights of
    debts. `collateral` is balances less `haircut`. `standalone_im` adds up what each position
    (and stressed coin balance) would need alone and `saving` is ``1 − im / standalone_im``,
    open orders aside; `available` is `equity_im − im`; `health` is the smallest equity / MM
    among the pots, null where nothing is required.
    """

    equity: float
    equity_im: float
    balances: float
    haircut: float
    haircut_mm: float
    collateral: float
    unrealised: float
    option_value: float
    im: float
    mm: float
    standalone_im: float
    saving: float | None
    available: float
    health: float | None
    margin_used: float | None
    state: str
    venue_state: str = ""


class PotLine(_Data, frozen=True, kw_only=True):
    """One pot, in its own numeraire.

    `state` is healthy, reduce-only, liquidation or bankrupt; `venue_state` is the venue's own
    word for where the pot stands, empty where its rule-set has none.
    """

    name: str
    pool: str
    numeraire: str
    numeraire_usd: float
    equity_im: float
    equity_mm: float
    im: float
    mm: float
    available: float
    health: float | None
    state: str
    venue_state: str = ""


class ComponentLine(_Data, frozen=True, kw_only=True):
    """One component of one group (group ``*``: the pot as a whole).

    A component that is a factor of the expression has no amount: `factor_im` and `factor_mm` say
    what it is, and the amounts are 0.
    """

    pot: str
    group: str
    name: str
    im_usd: float
    mm_usd: float
    source: str
    confidence: str
    note: str
    factor_im: float | None = None
    factor_mm: float | None = None


class GroupLine(_Data, frozen=True, kw_only=True):
    """One group: its scan, scenario by scenario, and its net sensitivities.

    `pnl_usd` is the profit and loss that counts; `raw_usd` the same before weights, offsets and
    dampeners. `delta` in coins, `gamma` in coins per 1 % move, `vega_usd` per volatility point,
    `theta_usd` per day. `delta_net_transaction` is delta less the options' value in coin, the
    delta of an account counted in coin.
    """

    pot: str
    group: str
    im_usd: float
    mm_usd: float
    standalone_usd: float
    binding: str | None
    scenarios: list[str]
    moves: list[float]
    vol_states: list[str]
    weights: list[float]
    tails: list[bool]
    pnl_usd: list[float]
    raw_usd: list[float]
    delta: float
    delta_net_transaction: float
    gamma: float
    vega_usd: float
    theta_usd: float


class PositionLine(_Data, frozen=True, kw_only=True):
    """One position. Marks of inverse options are in coin, as the venue quotes them."""

    instrument: str
    pool: str
    leg: str
    quantity: float
    unit: str
    entry_price: float | None
    mark_price: float
    mark_unit: str
    vol: float | None
    days: float | None
    notional_usd: float
    value_usd: float
    unrealised_usd: float
    delta: float
    gamma: float
    vega_usd: float
    theta_usd: float
    standalone_im_usd: float
    share_im_usd: float
    settled: bool


class BalanceLine(_Data, frozen=True, kw_only=True):
    """One balance: at market, and what the haircut leaves.

    `haircut` and `collateral_usd` at the initial level, the others at maintenance. A haircut is
    the share of this row's value that does not count, caps and tiers included; below 0 for a
    debt that counts more than its value. A balance whose `status` is ``pending`` (on its way) or
    ``stale`` (its proof is missing or too old) does not count: its value is 0.
    """

    asset: str
    pool: str
    location: str | None
    status: str
    amount: float
    price_usd: float
    value_usd: float
    haircut: float
    haircut_mm: float
    collateral_usd: float
    collateral_mm_usd: float
    stress: str
    share_im_usd: float


class Step(_Data, frozen=True, kw_only=True):
    """One bar of the waterfall from standalone margin to the requirement."""

    label: str
    kind: str
    usd: float


class SideLine(_Data, frozen=True, kw_only=True):
    """Liquidation on one side; all null when there is none within the search.

    `unknown_beyond` is the distance from which on the rule-set has no figure and nothing is
    claimed, null when the whole range was searched.
    """

    price_usd: float | None
    distance: float | None
    pot: str | None
    unknown_beyond: float | None = None


class LiquidationLine(_Data, frozen=True, kw_only=True):
    """Liquidation prices of one underlying (``*``: all together).

    `breached` says that a pot is below its maintenance margin already; the sides are those of
    the pots that are not.
    """

    underlying: str
    price_usd: float | None
    breached: bool
    down: SideLine
    up: SideLine
    breached_pots: list[str] = []


class OrdersLine(_Data, frozen=True, kw_only=True):
    """What open orders add to the initial margin after their worst fills."""

    count: int
    method: str
    confidence: str
    im_usd: float


class TrustLine(_Data, frozen=True, kw_only=True):
    """Verdict on one price: an asset's, or a quote or forward that is not trusted in full."""

    subject: str
    name: str
    expiry: str | None
    state: str
    reason: str


class ActionLine(_Data, frozen=True, kw_only=True):
    """Whether protect mode allows an action, and why not."""

    action: str
    allowed: bool
    reasons: list[str]


class ProtectLine(_Data, frozen=True, kw_only=True):
    """Protect mode: how far the prices that this account touches may be trusted.

    `state_by_numbers` is what equity and requirement alone would say of the account; while
    protect mode is active `totals.state` is at most what it allows.
    """

    active: bool
    state_by_numbers: str
    actions: list[ActionLine]
    prices: list[TrustLine]


class Inputs(_Data, frozen=True, kw_only=True):
    """Everything needed to compute the statement again."""

    account: AccountFile
    market: MarketFile
    ruleset: dict[str, Any]
    overrides: list[str]
    at: str


class Statement(_Data, frozen=True, kw_only=True):
    """The margin statement of one account under one rule-set in one market."""

    format: str
    account: str
    description: str
    as_of: str
    at: str
    market_source: str
    ruleset: RulesetInfo
    totals: Totals
    pots: list[PotLine]
    components: list[ComponentLine]
    groups: list[GroupLine]
    positions: list[PositionLine]
    balances: list[BalanceLine]
    waterfall: list[Step]
    share_fixed_usd: float
    share_jumps_usd: float
    orders: OrdersLine | None
    liquidation: list[LiquidationLine]
    notes: list[str]
    hashes: Hashes
    inputs: Inputs
    protect: ProtectLine | None = None
