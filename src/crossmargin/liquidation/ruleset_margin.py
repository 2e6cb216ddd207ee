"""A venue's day margined by a whole rule-set: options, inverse contracts, portfolio margin.

At each mark all accounts are margined in one go. What an event then changes is margined again,
account by account, before anybody decides on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossmargin.accounts import project_account, project_book, registry_of
from crossmargin.accounts.contract import Contract
from crossmargin.accounts.pots import Position, Pot
from crossmargin.book import book_from_accounts
from crossmargin.errors import LiquidationError
from crossmargin.liquidation._desk import Desk
from crossmargin.liquidation.account import Account
from crossmargin.liquidation.margined import MarginedAccount
from crossmargin.liquidation.standings import Stand
from crossmargin.margin import Evaluation, Ruleset, evaluate
from crossmargin.market import Snapshot


class RulesetMargin:
    """Margin of pots by a rule-set in which a pot is one pool of margin.

    Parameters
    ----------
    ruleset : Ruleset
        The rules; equity, IM and MM are taken in US dollars.
    snapshot : Snapshot
        The market to begin with.
    """

    def __init__(self, ruleset: Ruleset, snapshot: Snapshot) -> None:
        self.ruleset, self.snapshot = ruleset, snapshot
        self._stands: dict[str, Stand] = {}

    def marks(self, desk: Desk) -> dict[str, str]:
        """Return the marks of contracts that are held, as the ledger quotes them.

        An option's is its model value in its settlement asset, so that ledger and margin agree.
        """
        held = [
            c
            for _, c in sorted(desk.state.contracts.items())
            if c.open and c.kind != "spot" and any(p.held.balance for p in c.holders.values())
        ]
        if not held:
            return {}
        done = self._evaluated(desk, sorted(_accounts_of(held)))
        frame, registry = done.frame, done.frame.book.registry
        found = {}
        for contract in held:
            row = registry.resolve(contract.id)
            price = frame.unit_value[row] if contract.kind == "option" else frame.view.price[row]
            # The least price that can be booked: an option may be worth less than a quantum.
            found[contract.id] = f"{max(float(price), 1e-10):.10f}"
        return found

    def take(self, desk: Desk) -> None:
        """Margin every account in the market of the moment."""
        names = {asset for asset in desk.state.assets if not asset.startswith("contract:")}
        names |= {c.underlying for c in desk.state.contracts.values() if c.open}
        base = self.snapshot.asset_usd(desk.asset)
        for asset in sorted(names - {desk.asset}):
            if asset in self.snapshot.assets:
                desk.coins[asset] = self.snapshot.asset_usd(asset) / base
        self._stands.clear()
        desk.touched.clear()
        desk.others_posted, desk.posted_at = False, desk.state.count
        busy = [
            name
            for name, account in sorted(desk.state.accounts.items())
            if any(pot.open_positions() for pot in account.pots.values())
        ]
        if busy:
            self._note(desk, self._evaluated(desk, busy))

    def stand(self, desk: Desk, pot: Pot) -> Stand:
        """Return where a pot stands; margined again where something of it has moved."""
        self._forget(desk)
        found = self._stands.get(pot.name)
        if found is not None:
            return found
        assert pot.account is not None
        file = project_account(desk.state, pot.account.id)
        if file.balances or file.positions:
            book = book_from_accounts([file], registry_of(desk.state))
            self._note(desk, evaluate(book, self.snapshot, self.ruleset))
        return self._stands.setdefault(pot.name, Stand(equity=0, im=0.0, mm=0.0))

    def account(self, desk: Desk, pot: Pot, held: Sequence[Position], here: Stand) -> Account:
        """Return a pot as the margin engine sees it at other sizes.

        Raises
        ------
        LiquidationError
            ``LIQ-004`` for a pot that holds both legs of one contract.
        """
        assert pot.account is not None
        if len({p.contract.id for p in held}) < len(held):
            raise LiquidationError(
                f"{pot.name} holds long and short of one contract",
                code="LIQ-004",
                account=pot.account.id,
                hint="net the legs before the day, or margin the day at flat rates",
            )
        return MarginedAccount(
            project_account(desk.state, pot.account.id),
            self.snapshot,
            self.ruleset,
            pool=pot.id,
            lots={p.contract.id: desk.lot(p.contract) for p in held},
        )

    def check(self, desk: Desk, contract: Contract) -> None:
        """Leave it to the rule-set, which refuses by name what it does not margin."""

    def _forget(self, desk: Desk) -> None:
        """Forget the standings of pots that events have touched since they were worked out."""
        state = desk.state
        if desk.others_posted or state.count != desk.posted_at:
            # What the desk posted is known pot by pot, what others did is not.
            self._stands.clear()
            desk.others_posted, desk.posted_at = False, state.count
        for name in desk.touched:
            account = state.accounts.get(name.partition("/")[0])
            for pot in account.pots.values() if account is not None else ():
                self._stands.pop(pot.name, None)
        desk.touched.clear()

    def _evaluated(self, desk: Desk, names: Sequence[str]) -> Evaluation:
        return evaluate(project_book(desk.state, names), self.snapshot, self.ruleset)

    def _note(self, desk: Desk, done: Evaluation) -> None:
        """Take down where the pots of an evaluation stand."""
        frame, book = done.frame, done.frame.book
        a, found = frame.arrangement, dict[str, Stand]()
        for row in range(a.pots):
            pool = int(a.pot_pool[row])
            name = f"{book.account_ids[int(book.pool_account[pool])]}/{book.pool_names[pool]}"
            unit = float(frame.pot_usd[row]) / self.snapshot.asset_usd(desk.asset) * desk.unit
            now = Stand(
                equity=math.floor(float(done.have.mm[row]) * unit),
                im=float(done.need_orders.im[row]) * unit,
                mm=float(done.mm[row]) * unit,
                equity_im=math.floor(float(done.have.im[row]) * unit),
            )
            if name in found:
                raise LiquidationError(
                    f"{name} has several pots under rule-set {self.ruleset.id!r}",
                    code="LIQ-004",
                    account=name.partition("/")[0],
                    hint="use a rule-set that margins a pot as a whole",
                )
            found[name] = now
        self._stands.update(found)


def _accounts_of(contracts: Sequence[Contract]) -> set[str]:
    return {
        p.pot.account.id
        for contract in contracts
        for p in contract.holders.values()
        if p.held.balance and p.pot.account is not None
    }
