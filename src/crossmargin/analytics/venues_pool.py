"""What one account in place of several would free, and what it would put at stake.

The same positions and balances are margined three times: at each venue under its own rules, at
each venue under the rules of the pooled account, and in one account. The first step is what other
rules do, the second what pooling does; only the second is owed to cross margin.

Source: requirements A00 (saving and its cost in the tail are a pair), A08 (accounts that cannot
see each other against one), A15 (capital freed). The two steps are the house's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from crossmargin.analytics.efficiency import (
    TailModel,
    joint_moves,
    scenario_losses,
    underlying_vol,
)
from crossmargin.analytics.venues_plan import VenueAccount
from crossmargin.book import AccountFile, BalanceEntry, PositionEntry, book_from_accounts
from crossmargin.errors import CrossmarginError, InputError
from crossmargin.instruments import DOLLARS, parse_instrument
from crossmargin.margin import Evaluation, Ruleset, evaluate, frame_for, liquidation_prices
from crossmargin.market import Snapshot
from crossmargin.stats import expected_shortfall

Floats = NDArray[np.float64]


class PoolSide(msgspec.Struct, frozen=True, kw_only=True):
    """One account, US dollars.

    Attributes
    ----------
    name, ruleset : str
    equity_usd : float
        Counted at the initial level.
    im_usd, mm_usd : float
    free_usd, lacking_usd : float
        Equity less initial margin where that is above 0, and what it is below.
    health : float or None
        Equity over MM at the maintenance level; None where nothing is required.
    withstands_fall, withstands_rise : float or None
        Move of all coins together that meets the line (−0.2 is a fall of a fifth); None where
        none was found.
    """

    name: str
    ruleset: str
    equity_usd: float
    im_usd: float
    mm_usd: float
    free_usd: float
    lacking_usd: float
    health: float | None
    withstands_fall: float | None
    withstands_rise: float | None


class PooledVenues(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts in one, under one rule-set, US dollars.

    Attributes
    ----------
    pooled : PoolSide
        The one account.
    im_same_rules_usd : float or None
        Sum over the venues of the initial margin that these rules would ask of each alone; None
        where they refuse one of them alone.
    saving : float or None
        1 − IM of the one account / that sum: what pooling itself saves.
    freed_usd : float
        Free margin of the one account, less what it lacks, less the same of the venues.
    cvar_usd, cvar_separate_usd : float
        CVaR of one day's loss in one account, and in accounts that each lose at most their
        equity, on common scenarios.
    """

    pooled: PoolSide
    im_same_rules_usd: float | None
    saving: float | None
    freed_usd: float
    cvar_usd: float
    cvar_separate_usd: float


class VenuesPool(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts at several venues beside one account.

    Attributes
    ----------
    venues : list of PoolSide
        As they are.
    pooled : list of PooledVenues
        By rule-set.
    refused : dict of str to str
        Rule-sets that refuse the one account, with the reason.
    netted : list of str
        Instruments held at several venues, closed against each other in the one account.
    confidence, horizon_days : float
        Of the tail.
    scenarios, seed : int
    """

    venues: list[PoolSide]
    pooled: list[PooledVenues]
    refused: dict[str, str]
    netted: list[str]
    confidence: float
    horizon_days: float
    scenarios: int
    seed: int


def pool_venues(
    venues: Sequence[VenueAccount],
    snapshot: Snapshot,
    rulesets: Sequence[Ruleset],
    *,
    model: TailModel | None = None,
) -> VenuesPool:
    """Put the accounts of several venues into one, under each of several rule-sets.

    Resting orders, pools and fences of the accounts are given up on both sides of the comparison
    but for what each venue's own rules fence; transfers under way do not count in the one account.

    Parameters
    ----------
    venues : sequence of VenueAccount
        Two or more, with different names.
    snapshot : Snapshot
        One market for all.
    rulesets : sequence of Ruleset
        Of the one account; one that refuses it is an answer, and the others go on.
    model : TailModel, optional
        Of the tail.

    Raises
    ------
    InputError
        ``INP-112`` for fewer than two venues, or two of one name.
    """
    names = [one.venue for one in venues]
    if len(names) < 2 or len(set(names)) < len(names):
        raise _wrong("venues need different names, and two at least", "venues")
    model = model or TailModel()
    plain = [
        VenueAccount(
            venue=v.venue,
            account=msgspec.structs.replace(entered(v, snapshot), orders=[], quote_groups=[]),
            ruleset=v.ruleset,
        )
        for v in venues
    ]
    done = [_evaluated(v.account, snapshot, v.ruleset) for v in plain]
    sides = [_side(v.venue, d) for v, d in zip(plain, done)]
    one = unified_account(plain, "pooled")
    moves = _common_moves(done, snapshot, model)
    apart = sum((_lost(d, moves) for d in done), start=np.zeros(model.scenarios))
    separate = expected_shortfall(apart, model.confidence)
    found, refused = [], {}
    for rules in rulesets:
        try:
            whole = _evaluated(one, snapshot, rules)
        except CrossmarginError as error:
            refused[rules.id] = str(error)
            continue
        found.append(_pooled(plain, sides, whole, snapshot, moves, separate, model))
    return VenuesPool(
        venues=sides,
        pooled=found,
        refused=refused,
        netted=sorted(name for name, held in _held(plain).items() if len(held) > 1),
        confidence=model.confidence,
        horizon_days=model.horizon_days,
        scenarios=model.scenarios,
        seed=model.seed,
    )


def _evaluated(account: AccountFile, snapshot: Snapshot, rules: Ruleset) -> Evaluation:
    try:
        return evaluate(book_from_accounts([account]), snapshot, rules)
    except CrossmarginError as error:
        raise error.located(account=account.account) from None


def _side(name: str, done: Evaluation) -> PoolSide:
    usd = done.frame.pot_usd
    equity, at_line = float(done.have.im @ usd), float(done.have.mm @ usd)
    solved = liquidation_prices(done.frame, together=True)
    every = next((line for line in solved if line.underlying == "*"), None)
    if every is None and len(solved) == 1:
        every = solved[0]  # one coin alone is all coins together
    return PoolSide(
        name=name,
        ruleset=done.frame.ruleset.id,
        equity_usd=equity,
        im_usd=done.im_usd,
        mm_usd=done.mm_usd,
        free_usd=max(0.0, equity - done.im_usd),
        lacking_usd=max(0.0, done.im_usd - equity),
        health=at_line / done.mm_usd if done.mm_usd > 0 else None,
        withstands_fall=None if every is None else every.down.distance,
        withstands_rise=None if every is None else every.up.distance,
    )


def _pooled(
    venues: Sequence[VenueAccount],
    sides: Sequence[PoolSide],
    whole: Evaluation,
    snapshot: Snapshot,
    moves: tuple[list[str], Floats],
    separate: float,
    model: TailModel,
) -> PooledVenues:
    rules, side = whole.frame.ruleset, _side("pooled", whole)
    same: float | None = 0.0
    for one in venues:
        try:
            alone = _evaluated(unified_account([one]), snapshot, rules)
        except CrossmarginError:
            same = None
            break
        same = (same or 0.0) + alone.im_usd
    before = sum(s.free_usd - s.lacking_usd for s in sides)
    return PooledVenues(
        pooled=side,
        im_same_rules_usd=same,
        saving=1.0 - side.im_usd / same if same else None,
        freed_usd=side.free_usd - side.lacking_usd - before,
        cvar_usd=expected_shortfall(_lost(whole, moves), model.confidence),
        cvar_separate_usd=separate,
    )


def _common_moves(
    done: Sequence[Evaluation], snapshot: Snapshot, model: TailModel
) -> tuple[list[str], Floats]:
    """Draw one set of moves for every coin that any of the accounts holds or trades."""
    coins = set()
    for one in done:
        assets, follow = one.frame.book.registry.assets, one.frame.follow
        used = {*one.frame.book.balance_asset.tolist()}
        used |= set(one.frame.terms.underlying[one.frame.book.position_instrument].tolist())
        coins |= {assets[int(follow[a])] for a in used} | {assets[a] for a in used}
    names = sorted(coins - DOLLARS)
    vols = [underlying_vol(snapshot, name) for name in names]
    return names, joint_moves(names, vols, model) if names else np.zeros((0, model.scenarios))


def _lost(done: Evaluation, moves: tuple[list[str], Floats]) -> Floats:
    """Loss by scenario; a pot loses at most its equity."""
    frame, (names, move) = done.frame, moves
    mine = [k for k, name in enumerate(names) if name in frame.book.registry.assets]
    position, coin = scenario_losses(frame, [names[k] for k in mine], move[mine])
    a, total = frame.arrangement, np.zeros((frame.arrangement.pots, move.shape[1]))
    np.add.at(total, a.position_pot, position)
    np.add.at(total, a.balance_pot, coin)
    equity = np.maximum(done.have.mm * frame.pot_usd, 0.0)
    return np.asarray(np.minimum(total, equity[:, None]).sum(axis=0))


def entered(venue: VenueAccount, market: Snapshot) -> AccountFile:
    """Return an account with entry prices written out, so that another market gives a profit."""
    frame = frame_for(book_from_accounts([venue.account]), market, venue.ruleset)
    assert frame.entry is not None
    positions = [
        msgspec.structs.replace(row, entry_price=float(entry))
        if math.isfinite(entry) and not isinstance(row.entry_price, float | int)
        else row
        for row, entry in zip(venue.account.positions, frame.entry.tolist())
    ]
    return msgspec.structs.replace(venue.account, positions=positions)


def unified_account(venues: Sequence[VenueAccount], name: str = "unified") -> AccountFile:
    """Return one account with the positions and balances of all, as if one venue held them.

    What is held at several venues is one position there: the smaller side closes against the
    larger at the entries of both, the profit of that is paid into the balance, and what is left
    keeps the entry of the larger side (the mean one where both venues are on it). Equity at any
    mark is the sum of the accounts', but for haircuts on what was paid in. Pools, fences and
    orders are given up, transfers under way do not count.

    Raises
    ------
    InputError
        ``INP-112`` for a position held at several venues whose entry price is no number.
    """
    positions: list[PositionEntry] = []
    amounts: dict[str, float] = {}
    for one in venues:
        for b in one.account.balances:
            if not b.pending:
                amounts[b.asset] = amounts.get(b.asset, 0.0) + float(b.amount)
    for held in _held(venues).values():
        rows = [row for mine in held.values() for row in mine]
        if len(held) == 1:
            positions += [_loose(row) for row in rows]
            continue
        legs = {row.leg for row in rows}
        for leg in ("net",) if "net" in legs else sorted(legs):
            mine = [row for row in rows if "net" in legs or row.leg == leg]
            left, paid = _netted(mine)
            if left is not None:
                positions.append(msgspec.structs.replace(left, leg=leg))
            for asset, amount in paid.items():
                amounts[asset] = amounts.get(asset, 0.0) + amount
    balances = [BalanceEntry(asset=asset, amount=amount) for asset, amount in amounts.items()]
    return AccountFile(
        format="crossmargin-account/1", account=name, balances=balances, positions=positions
    )


@dataclass(slots=True)
class _Leg:
    """Units on one side, and what they cost: Σq·e, or Σq/e of an inverse contract."""

    units: float = 0.0
    cost: float = 0.0


def _held(venues: Sequence[VenueAccount]) -> dict[str, dict[str, list[PositionEntry]]]:
    """Return positions by instrument and venue, in the order of the accounts."""
    found: dict[str, dict[str, list[PositionEntry]]] = {}
    for one in venues:
        for row in one.account.positions:
            name = parse_instrument(row.instrument).id
            found.setdefault(name, {}).setdefault(one.venue, []).append(row)
    return found


def _loose(row: PositionEntry) -> PositionEntry:
    return msgspec.structs.replace(row, pool="cross", fenced_margin=None)


def _netted(rows: Sequence[PositionEntry]) -> tuple[PositionEntry | None, Mapping[str, float]]:
    """Close what stands against itself; return what is left, and what was paid by asset."""
    item = parse_instrument(rows[0].instrument)
    total = math.fsum(float(row.quantity) for row in rows)
    if item.kind == "option":
        # Its premium was paid when it was bought: an option is worth its mark, whatever the entry.
        kept = msgspec.structs.replace(_loose(rows[0]), quantity=total, entry_price=None)
        return (kept if total else None), {}
    sides = {True: _Leg(), False: _Leg()}
    for row in rows:
        units, entry = float(row.quantity), _entry(row)
        side = sides[units > 0]
        side.units += abs(units)
        side.cost += abs(units) * (1.0 / entry if item.inverse else entry)
    closed = min(sides[True].units, sides[False].units)
    paid = {}
    if closed:
        long, short = (sides[s].cost / sides[s].units for s in (True, False))
        gain = closed * (long - short if item.inverse else short - long) * item.contract_size
        paid[item.settlement] = gain
    rest = sides[total > 0]
    if abs(total) <= 1e-12 * max(sides[True].units, sides[False].units):
        return None, paid
    mean = rest.cost / rest.units
    left = msgspec.structs.replace(
        _loose(rows[0]), quantity=total, entry_price=1.0 / mean if item.inverse else mean
    )
    return left, paid


def _entry(row: PositionEntry) -> float:
    if row.entry_price is None or row.entry_price == "mark":
        raise _wrong(
            f"{row.instrument} is held at two venues and its entry price is no number", "positions"
        )
    return float(row.entry_price)


def _wrong(message: str, field: str) -> InputError:
    return InputError(message, code="INP-112", field=field, hint="see docs/models/efficiency.md")
