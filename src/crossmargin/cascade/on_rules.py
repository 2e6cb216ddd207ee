"""The same cascade over a book under any rule-set, options included.

News, books, marks, funding, impact and halts are those of the simulation of populations; what is
swapped is the view of margin. Who is due comes from the live book and its trigger prices, an
account that is due is the account itself under its rule-set, and what is closed of it is decided by
the liquidation room's engine, one account at a time. That is exact and slow: for thousands of
accounts, not a million.

What options do to a cascade: whoever stands against the accounts hedges their delta. When the
price moves, or an option is closed by force, that delta changes and is traded in the market. If
accounts are long gamma their counterparties are short of it and sell into a fall; if accounts are
short gamma, hedging holds the price (a term −Γ·S²/D of the loop gain, Γ the hedgers'; cascades.md
§1.2 and the issue's own condition).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.cascade._book_view import BookView, Pot
from crossmargin.cascade.breaking import Breaking, Trading
from crossmargin.cascade.figures import number, numbers
from crossmargin.cascade.impact import Fill, coins_to, fill
from crossmargin.cascade.setting import CascadeMarket, Weather
from crossmargin.errors import CascadeError
from crossmargin.liquidation import (
    Breaker,
    BreakerState,
    LiquidationRules,
    Look,
    Progress,
    advance,
    begin,
    liquidation_rules,
)
from crossmargin.liquidation.rules import AuctionStep
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A flow below this share of the depth is none: rounds of hedging die out geometrically.
_NOTHING = 1e-13


def _house() -> LiquidationRules:
    return liquidation_rules("house")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """What a venue does at the line, for accounts one by one.

    Attributes
    ----------
    liquidation : LiquidationRules
        Any of the catalogue that needs no auction and no bids from outside.
    fund_usd : float
        What the insurance fund has at the start. It takes accounts over, sells them in the same
        round and bears what is lacking; what it cannot bear is bad debt (there is no
        deleveraging here).
    rounds : int
        Most rounds in a step.
    breaker : Breaker or None
        Halts, contract by contract.
    hedged : float
        Share of the delta of accounts' options that their counterparties hedge, at least 0.
    option_spread : float
        Share of an option's price lost when it is closed by force, 0 to below 1. No figure of it
        is known; 0 leaves it out.
    lots : mapping of str to float
        Smallest size that is closed, by instrument.
    """

    liquidation: LiquidationRules = field(default_factory=_house)
    fund_usd: float = 0.0
    rounds: int = 50
    breaker: Breaker | None = None
    hedged: float = 1.0
    option_spread: float = 0.0
    lots: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number("fund_usd", self.fund_usd, least=0)
        number("hedged", self.hedged, least=0)
        number("option_spread", self.option_spread, least=0, most=1 - 1e-12)
        if self.rounds < 1:
            raise CascadeError("a step has at least one round", code="CAS-001", field="rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookCascade:
    """One run of :func:`cascade_on_rules`: T steps, J assets, K of them traded, A accounts.

    Row 0 of what has T + 1 rows is the state before anything. Money is in US dollars.

    Attributes
    ----------
    assets : tuple of str
        J names; the first K are those whose trades move prices.
    times_ns : int64[T + 1]
        Moments.
    price, exogenous : float64[T + 1, J]
        Marks, and prices without forced sales or hedging.
    depth : float64[T + 1, K]
        D.
    open_interest : float64[T + 1, J]
        Coins held long by accounts in futures and perpetuals.
    gamma : float64[T + 1, J]
        ``Γ·S²`` of the options that accounts hold; their counterparties have the opposite.
    rounds, breached : int64[T]
        Rounds, and accounts newly below the line.
    sold, bought : float64[T, K]
        Delta closed by force in futures, perpetuals and spot, at its fills.
    hedging : float64[T, K]
        Delta traded by hedgers of options, signed: below 0 they sold.
    fund : float64[T + 1]
        The insurance fund.
    fees, bad_debt : float64[T]
        Fees paid into it, and losses that nobody bore.
    first_step : int64[A]
        Step of the first forced closing, −1 where there was none.
    closed : mapping of (int, str) to float
        Units closed by force, by account and instrument, at least 0.
    equity, mm : float64[A]
        At the end, at the maintenance level; NaN for an account that cannot be computed.
    """

    assets: tuple[str, ...]
    times_ns: Ints
    price: Floats
    exogenous: Floats
    depth: Floats
    open_interest: Floats
    gamma: Floats
    rounds: Ints
    breached: Ints
    sold: Floats
    bought: Floats
    hedging: Floats
    fund: Floats
    fees: Floats
    bad_debt: Floats
    first_step: Ints
    closed: Mapping[tuple[int, str], float]
    equity: Floats
    mm: Floats

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Accounts of which anything was closed by force, bool[A]."""
        return np.asarray(self.first_step >= 0, dtype=np.bool_)


def cascade_on_rules(
    book: CompactBook,
    snapshot: Snapshot,
    ruleset: Ruleset,
    market: CascadeMarket,
    rules: BookRules | None = None,
    *,
    assets: Sequence[str],
) -> BookCascade:
    """Run a cascade over a book under a rule-set.

    Parameters
    ----------
    book : CompactBook
        Accounts of positions and balances.
    snapshot : Snapshot
        The market at the start; volatilities stay with their strikes, time stands still for
        margins (a cascade is short).
    ruleset : Ruleset
        Any of the catalogue. Quick where it is computed in one pass with trigger prices
        (docs/models/triggers.md); else the whole book is computed at every price.
    market : CascadeMarket
        News by asset, and how prices take flow. Margins and behaviour are for populations and
        are refused here.
    rules : BookRules, optional
        Default the house's.
    assets : sequence of str
        Coins of the columns of `market.exogenous`; the first K (as many as depths) are those
        whose forced trades move prices.

    Raises
    ------
    CascadeError
        ``CAS-001`` a market that does not fit, ``CAS-003`` a coin without a price.
    LiquidationError
        ``LIQ-011`` a figure that the rules lack.

    Notes
    -----
    All contracts on one coin share its depth. An order fills where the coin's fills put its
    contract: forwards keep their ratio to the index, options their volatility.
    """
    run = _Run(book, snapshot, ruleset, market, rules or BookRules(), assets)
    for step in range(run.steps):
        run.step(step)
    return run.result()


@dataclass(slots=True)
class _Window:
    """One step of the market: its first prices, depths and displacement, coins traded so far."""

    price: Floats
    depth: Floats
    moved: Floats
    flow: Floats


@dataclass(frozen=True, slots=True)
class _Leg:
    """What is traded of a contract: signed units, coins of delta a unit, US dollars.

    `fee` is at the mark; `allotted` is the equity that goes with it where it is taken over.
    """

    name: str
    units: float
    coins: float
    fee: float
    allotted: float


@dataclass(slots=True)
class _Order:
    """What is closed of a pot in a round; `whole` unless some of it is halted."""

    pot: Pot
    look: Look
    legs: list[_Leg]
    whole: bool


class _Run:
    """One run."""

    def __init__(
        self,
        book: CompactBook,
        snapshot: Snapshot,
        ruleset: Ruleset,
        market: CascadeMarket,
        rules: BookRules,
        assets: Sequence[str],
    ) -> None:
        self.market, self.rules = market, rules
        self.view = BookView(book, snapshot, ruleset, assets, rules.lots)
        self.returns = numbers("exogenous", market.exogenous)
        self._check(len(assets))
        self.steps, j = self.returns.shape
        self.k = np.atleast_1d(np.asarray(market.depth_usd, dtype=np.float64)).size
        if market.books is None and np.ndim(market.depth_usd) == 0:
            self.k = j
        self.exogenous = self.view.price
        self.moved = np.zeros(self.k)
        self.mark = self.exogenous.copy()
        self.depth = np.broadcast_to(np.asarray(market.depth_usd, np.float64), (self.k,)).copy()
        self.time_ns = market.start_ns
        hooks = (market.books, market.marks, market.funding)
        self.states = [None if hook is None else hook.begin() for hook in hooks]
        self.breaking = Breaking(terms=rules.breaker)
        self.halts: tuple[BreakerState, ...] = self.breaking.start(
            market.start_ns, self.exogenous[: self.k]
        )
        self.progress: dict[tuple[int, str | None], Progress] = {}
        self.under: set[int] = set()
        self.fund = rules.fund_usd
        self.hedge = rules.hedged * self.view.option_delta()[: self.k]
        self.first = np.full(self.view.live.size, -1, dtype=np.int64)
        self.closed: dict[tuple[int, str], float] = {}
        self.rows: dict[str, list[Floats | float | int]] = {name: [] for name in _COLUMNS}
        self._write_moment()

    def _check(self, assets: int) -> None:
        market = self.market
        if self.returns.ndim != 2 or self.returns.shape[1] != assets:
            raise CascadeError(
                f"news is a row for each step and a column for each of {assets} assets",
                code="CAS-001",
                field="exogenous",
            )
        auctions = [x.name for x in self.rules.liquidation.steps if isinstance(x, AuctionStep)]
        if auctions:
            raise CascadeError(
                f"rules {self.rules.liquidation.id!r} auction accounts, and nobody bids here",
                code="CAS-001",
                field=f"steps.{auctions[0]}",
                hint="take rules that close in the market",
            )
        if market.margins is not None or market.behaviour is not None:
            raise CascadeError(
                "margins that follow volatility and behaviour are for populations",
                code="CAS-001",
                field="margins" if market.margins is not None else "behaviour",
                hint="leave them out: here the rule-set says what margins are",
            )

    # ---- one step ----------------------------------------------------------------------

    def step(self, step: int) -> None:
        """Let one step pass."""
        market, k = self.market, self.k
        self.time_ns += market.step_ns
        self.exogenous = self.exogenous * np.exp(self.returns[step])
        weather = self._weather(step)
        if market.books is not None:
            self.states[0], self.depth, gap, kept = market.books.next(self.states[0], weather)
            self.moved = self.moved * kept + gap
        window = _Window(self._book()[:k], self.depth.copy(), self.moved.copy(), np.zeros(k))
        state = self._marked(step)
        if market.funding is not None:
            self.states[2], rate = market.funding.next(self.states[2], self._weather(step))
            if rate.any():
                self.view.fund(-rate * self.mark[:k])
        tally = {name: np.zeros(k) for name in ("sold", "bought", "hedging")}
        tally |= {name: np.zeros(1) for name in ("fees", "bad_debt")}
        rounds, breached = 0, 0
        for _ in range(self.rules.rounds):
            trading = self._halt(window)
            orders, under = self._decide(trading)
            breached += len(under - self.under)
            self.under = under
            done = self._trade(orders, window, trading, tally, step)
            if not done:
                break
            rounds += 1
            move = market.impact.displacement(window.flow, window.depth, window.price)
            self.moved = window.moved + move
            state = self._marked(step)
        self.states[1] = state
        self.rows["rounds"].append(rounds)
        self.rows["breached"].append(breached)
        for name, value in tally.items():
            self.rows[name].append(value if value.size == k and name in _BY_K else float(value[0]))
        self._write_moment()

    def _book(self) -> Floats:
        out = self.exogenous.copy()
        out[: self.k] *= np.exp(self.moved)
        return out

    def _weather(self, step: int) -> Weather:
        return Weather(
            step=step,
            steps=self.steps,
            time_ns=self.time_ns,
            step_ns=self.market.step_ns,
            returns=self.returns[step],
            exogenous=self.exogenous,
            mark=self.mark,
            book=self._book(),
            displacement=self.moved,
            depth_usd=self.depth,
            open_interest=self.view.gross()[: self.k],
        )

    def _marked(self, step: int) -> object:
        """Form marks and give them to the book; return the state if it is kept."""
        state = self.states[1]
        if self.market.marks is None:
            self.mark = self._book()
        else:
            state, self.mark = self.market.marks.next(state, self._weather(step))
        self.view.move(self.mark)
        return state

    def _halt(self, window: _Window) -> Trading:
        self.halts, trading = self.breaking.next(self.halts, self.time_ns, self._book()[: self.k])
        eased = self.depth / trading.impact_factor
        new = eased != window.depth
        if new.any():
            # An auction begins a window of its own: another depth, and flow from here.
            window.price = np.where(new, self._book()[: self.k], window.price)
            window.moved = np.where(new, self.moved, window.moved)
            window.flow = np.where(new, 0.0, window.flow)
            window.depth = eased
        return trading

    def _due(self) -> set[int]:
        """Return accounts below their line, and those whose liquidation goes on."""
        going = {a for (a, _), p in self.progress.items() if p.state == "liquidating"}
        return set(self.view.below().tolist()) | going

    # ---- one round ---------------------------------------------------------------------

    def _decide(self, trading: Trading) -> tuple[list[_Order], set[int]]:
        """Ask the rules what is to be closed, account by account; also who is below the line."""
        found, under = list[_Order](), set[int]()
        if not trading.fills.any():
            return found, self.under | set(self.view.below().tolist())
        for account in sorted(self._due()):
            for pot in self.view.pots(account):
                key = (account, pot.settles)
                before = self.progress.get(key, begin())
                if before.state in ("taken-over", "closed"):
                    # It has come back under with what was left to it.
                    before = begin()
                look = advance(pot.margined, self.rules.liquidation, before, self.time_ns)
                if look.trail or look.progress.state != "healthy":
                    # Who stands on the line within rounding is not below it.
                    under.add(account)
                legs = self._legs(pot, look)
                free = [leg for leg in legs if self._fills(leg.name, trading)]
                if legs and not free:
                    # All of it is in contracts that are halted: its timers are not touched.
                    continue
                self.progress[key] = look.progress
                if legs or look.progress.state in ("taken-over", "closed"):
                    found.append(_Order(pot, look, free, len(free) == len(legs)))
        return found, under

    def _fills(self, instrument: str, trading: Trading) -> bool:
        """Whether a contract may fill now: its coin is not halted, or moves no price here."""
        column, _ = self.view.coins(instrument)
        return not 0 <= column < self.k or bool(trading.fills[column])

    def _legs(self, pot: Pot, look: Look) -> list[_Leg]:
        """Return what is closed."""
        fees: dict[str, float] = {}
        allotted: dict[str, float] = {}
        for said in look.trail:
            if said.leg is not None:
                fees[said.leg] = fees.get(said.leg, 0.0) + said.fee
                if said.action == "takeover":
                    allotted[said.leg] = said.cost
        out = []
        for leg, left in zip(pot.margined.legs, look.quantity.tolist()):
            units = left - leg.quantity
            if units != 0.0:
                _, coins = self.view.coins(leg.name)
                fee, equity = fees.get(leg.name, 0.0), allotted.get(leg.name, 0.0)
                out.append(_Leg(leg.name, units, coins, fee, equity))
        return out

    def _trade(
        self,
        orders: list[_Order],
        window: _Window,
        trading: Trading,
        tally: dict[str, Floats],
        step: int,
    ) -> bool:
        """Bring a round's orders and hedges to the market and book them; say whether any were."""
        k = self.k
        sells, buys = np.zeros(k), np.zeros(k)
        options = np.zeros(k)
        for order in orders:
            for leg in order.legs:
                column, _ = self.view.coins(leg.name)
                if not 0 <= column < k:
                    continue
                flow = leg.units * leg.coins
                if self.view.is_option(leg.name):
                    options[column] += flow
                elif flow < 0:
                    sells[column] -= flow
                else:
                    buys[column] += flow
        wanted = self.rules.hedged * (self.view.option_delta()[:k] + options)
        hedging = np.where(trading.fills, wanted - self.hedge, 0.0)
        small = np.abs(hedging) * self.mark[:k] <= _NOTHING * np.where(
            np.isfinite(window.depth), window.depth, 0.0
        )
        hedging = np.where(small, 0.0, hedging)
        if not orders and not hedging.any():
            return False
        share, found = self._cleared(sells, buys, hedging, window, trading)
        at = self.mark.copy()
        at[:k] = found.price
        part = _Part(share=share, fills=at, ratio=at / self.mark, step=step)
        for order in orders:
            self._book_order(order, part, tally)
        # What trades of options have changed is hedged as far as it was traded.
        done = hedging * np.where(hedging < 0, share[0], share[1])
        self.hedge = self.hedge + done
        tally["hedging"] += done * found.price
        tally["sold"] += share[0] * sells * found.price
        tally["bought"] += share[1] * buys * found.price
        window.flow = window.flow + found.filled
        return True

    def _cleared(
        self, sells: Floats, buys: Floats, hedging: Floats, window: _Window, trading: Trading
    ) -> tuple[tuple[Floats, Floats], Fill]:
        """Cross both sides and fill the net; return shares of sales and purchases that filled."""
        down = sells + np.maximum(-hedging, 0.0)
        up = buys + np.maximum(hedging, 0.0)
        net = up - down
        asked = net
        if (trading.halt_below > 0.0).any():
            room = coins_to(self.market.impact, window.depth, window.price, trading.halt_below)
            asked = np.where(net < 0, np.maximum(net, np.minimum(room - window.flow, 0.0)), net)
        found = fill(self.market.impact, window.flow, asked, window.depth, window.price)
        lacking = np.abs(net) - np.abs(found.filled)
        sale = np.divide(down - lacking, down, out=np.ones(self.k), where=(net < 0) & (down > 0))
        purchase = np.divide(up - lacking, up, out=np.ones(self.k), where=(net > 0) & (up > 0))
        return (np.clip(sale, 0.0, 1.0), np.clip(purchase, 0.0, 1.0)), found

    def _book_order(self, order: _Order, part: _Part, tally: dict[str, Floats]) -> None:
        """Fill what a pot closes, take its fees, and settle what was taken over."""
        view, account = self.view, order.pot.account
        at = view.prices_at(part.fills)
        whole, brought = order.whole, list[tuple[str, float]]()
        for leg in order.legs:
            column, _ = view.coins(leg.name)
            share = 1.0
            if 0 <= column < self.k and not view.is_option(leg.name):
                share = float(part.share[0 if leg.units < 0 else 1][column])
            whole &= share >= 1.0
            if share == 0.0:
                continue
            slip = view.trade(account, leg.name, leg.units * share, at, self.rules.option_spread)
            brought.append((leg.name, leg.allotted * share + slip))
            paid = leg.fee * share * (float(part.ratio[column]) if column >= 0 else 1.0)
            if paid:
                view.pay(account, leg.name, paid)
                self.fund += paid
                tally["fees"] += paid
            key = (account, leg.name)
            self.closed[key] = self.closed.get(key, 0.0) + abs(leg.units) * share
            if self.first[account] < 0:
                self.first[account] = part.step
        state = order.look.progress.state
        if state in ("taken-over", "closed") and whole:
            self._settle(view.sweep(order.pot), tally)
        elif state == "taken-over":
            # What has filled goes at its bankruptcy price; what has not stays with its owner, who
            # is looked at again.
            for name, usd in brought:
                view.pay(account, name, usd)
                self._settle(usd, tally)
            self.progress[(account, order.pot.settles)] = begin()

    def _settle(self, worth: float, tally: dict[str, Floats]) -> None:
        """Give the fund what an account that was taken over is worth, or have it pay."""
        paid = max(worth, -self.fund)
        self.fund += paid
        tally["bad_debt"] += paid - worth

    # ---- what is written down ----------------------------------------------------------

    def _write_moment(self) -> None:
        view, rows = self.view, self.rows
        j = len(view.assets)
        rows["times_ns"].append(self.time_ns)
        rows["price"].append(self.mark.copy())
        rows["exogenous"].append(self.exogenous.copy())
        rows["depth"].append(self.depth.copy())
        rows["open_interest"].append(view.gross())
        rows["gamma"].append(view.option_gamma() if view.has_options else np.zeros(j))
        rows["fund"].append(self.fund)

    def result(self) -> BookCascade:
        """Say what happened."""
        kept = {name: np.array(self.rows[name]) for name in _COLUMNS}
        for name in ("times_ns", "rounds", "breached"):
            kept[name] = kept[name].astype(np.int64)
        for name in _BY_K:
            kept[name] = kept[name].reshape(self.steps, self.k)
        live = self.view.live
        live.settle()
        return BookCascade(
            assets=self.view.assets,
            first_step=self.first,
            closed=dict(self.closed),
            equity=live.equity.copy(),
            mm=live.mm.copy(),
            **kept,
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """How a round filled: shares of sales and purchases by contract, prices, against marks."""

    share: tuple[Floats, Floats]
    fills: Floats
    ratio: Floats
    step: int


_BY_K = ("sold", "bought", "hedging")
_COLUMNS = (
    "times_ns",
    "price",
    "exogenous",
    "depth",
    "open_interest",
    "gamma",
    "rounds",
    "breached",
    *_BY_K,
    "fund",
    "fees",
    "bad_debt",
)
