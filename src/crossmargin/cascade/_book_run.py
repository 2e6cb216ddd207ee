"""The run of a cascade over a book: steps, rounds, orders, hedges, takeovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossmargin.book import CompactBook
from crossmargin.cascade._book_types import BookCascade, BookRules
from crossmargin.cascade._book_view import BookView, Pot
from crossmargin.cascade.breaking import Breaking, Trading
from crossmargin.cascade.figures import numbers
from crossmargin.cascade.impact import Fill, coins_to, fill
from crossmargin.cascade.setting import CascadeMarket, Weather
from crossmargin.errors import CascadeError
from crossmargin.liquidation import BreakerState, Look, Progress, advance, begin
from crossmargin.liquidation.rules import AuctionStep
from crossmargin.margin import Ruleset
from crossmargin.market import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A flow below this share of the depth is none: rounds of hedging die out geometrically.
_NOTHING = 1e-13


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


class Run:
    """One run."""

    def __init__(
        self,
        book: CompactBook,
        snapshot: Snapshot,
        ruleset: Ruleset,
        market: CascadeMarket,
        rules: BookRules,
        assets: Sequence[str],
        contracts: int | None,
    ) -> None:
        self.market, self.rules = market, rules
        self.view = BookView(book, snapshot, ruleset, assets, rules.lots)
        self.returns = numbers("exogenous", market.exogenous)
        self._check(len(assets))
        self.steps, j = self.returns.shape
        depth = numbers("depth_usd", market.depth_usd, above=0, finite=False)
        self.k = (depth.size if depth.ndim else j) if contracts is None else contracts
        if depth.size not in (1, self.k) or depth.ndim > 1 or not 1 <= self.k <= j:
            raise CascadeError(
                f"{depth.size} depths for {self.k} of {j} coins",
                code="CAS-001",
                field="depth_usd",
                hint="give one depth for each coin that is traded, these coins first",
            )
        self.exogenous = self.view.price
        self.moved = np.zeros(self.k)
        self.mark = self.exogenous.copy()
        self.depth = np.broadcast_to(depth, (self.k,)).copy()
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
