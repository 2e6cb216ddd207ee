"""Building the statement: evaluate once, then explain every part of the number."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import numpy as np

from crossmargin import __version__
from crossmargin.book import AccountFile, book_from_accounts
from crossmargin.codec import decode_json
from crossmargin.errors import InputError
from crossmargin.margin import _explain as explain
from crossmargin.margin._frame import Frame
from crossmargin.margin._notes import gaps_here, notes
from crossmargin.margin._protect import (
    protect_line,
    protect_notes,
    protect_of,
)
from crossmargin.margin._statement_lines import (
    balance_lines,
    excess_usd,
    orders_line,
    position_lines,
    pot_lines,
    pot_states,
    side_line,
    totals_of,
    worst_state,
)
from crossmargin.margin.components import PegCharge, PegFactor
from crossmargin.margin.engine import (
    Requirement,
)
from crossmargin.margin.evaluation import evaluate
from crossmargin.margin.liquidation_price import liquidation_prices
from crossmargin.margin.ruleset import Ruleset, ruleset_from_dict
from crossmargin.margin.shares import shares
from crossmargin.margin.statement_types import (
    STATEMENT_FORMAT,
    Hashes,
    Inputs,
    LiquidationLine,
    RulesetInfo,
    Statement,
)
from crossmargin.market import Snapshot, file_from_snapshot, snapshot_from_file
from crossmargin.scenarios import Kernel
from crossmargin.units import format_time, parse_time


def make_statement(
    account: AccountFile,
    snapshot: Snapshot,
    ruleset: Ruleset,
    *,
    at_ns: int | None = None,
    kernel: Kernel = "numpy",
    solve: bool = True,
) -> Statement:
    """Compute and explain the margin of one account.

    Parameters
    ----------
    account : AccountFile
        What it holds.
    snapshot : Snapshot
        The market.
    ruleset : Ruleset
        The rules.
    at_ns : int, optional
        Moment of valuation; default the market's own.
    kernel : {"numpy", "numba"}
        Pricing kernel.
    solve : bool
        Whether to solve liquidation prices.

    Returns
    -------
    Statement
        In US dollars, with each pot also in its own numeraire.

    Raises
    ------
    CrossmarginError
        One sentence naming account, instrument and field.
    """
    market = snapshot if at_ns is None else snapshot.at(at_ns)
    book = book_from_accounts([account])
    done = evaluate(book, market, ruleset, kernel=kernel)
    frame = done.frame
    split = shares(frame)
    alone = explain.standalone_margins(frame)
    solved = liquidation_prices(frame) if solve else []
    trust, by_numbers = protect_of(frame), worst_state(s.state for s in pot_states(done))
    used = frame.used.tolist()
    names = [book.registry.assets[a] for a in book.balance_asset]
    names += [book.registry.assets[a] for a in frame.arrangement.group_underlying]
    names += _named_by(ruleset)
    inputs = Inputs(
        account=account,
        market=file_from_snapshot(market.restricted_to(book.registry, used, names)),
        ruleset=ruleset.as_dict(),
        overrides=list(ruleset.overrides),
        at=format_time(market.moment_ns),
    )
    return Statement(
        format=STATEMENT_FORMAT,
        account=account.account,
        description=account.description,
        as_of=format_time(market.as_of_ns),
        at=format_time(market.moment_ns),
        market_source=market.source,
        ruleset=_ruleset_info(frame, done.need),
        totals=totals_of(done, float(alone.im.sum())),
        pots=pot_lines(done),
        components=explain.component_lines(frame, done.need),
        groups=explain.group_lines(frame, done.need, alone),
        positions=position_lines(done, split, alone),
        balances=balance_lines(done, split),
        waterfall=explain.waterfall(frame, done.need, done.need_orders, alone),
        share_fixed_usd=split.fixed,
        share_jumps_usd=split.jumps,
        orders=orders_line(done),
        liquidation=[
            LiquidationLine(
                underlying=line.underlying,
                price_usd=None if np.isnan(line.price_usd) else line.price_usd,
                breached=line.breached,
                down=side_line(frame, line.down),
                up=side_line(frame, line.up),
                breached_pots=[explain.pot_name(frame, pot) for pot in line.breached_pots],
            )
            for line in solved
        ],
        notes=protect_notes(trust, by_numbers)
        + notes(frame, account, market, done.need, done.have, excess_usd(done)),
        hashes=_hashes(inputs, ruleset),
        inputs=inputs,
        protect=protect_line(trust, by_numbers),
    )


def recompute(statement: Statement, *, kernel: Kernel = "numpy") -> Statement:
    """Compute a statement again from its own inputs: the result equals the statement.

    Raises
    ------
    InputError
        ``INP-012`` when it was written by another version of the code.
    """
    if statement.hashes.code_version != __version__:
        raise InputError(
            f"the statement was made by version {statement.hashes.code_version}, this is "
            f"{__version__}",
            code="INP-012",
            field="hashes.code_version",
        )
    rules = ruleset_from_dict({**statement.inputs.ruleset, "extends": None})
    data = replace(
        rules,
        data=msgspec.structs.replace(rules.data, extends=statement.inputs.ruleset.get("extends")),
        overrides=tuple(statement.inputs.overrides),
    )
    return make_statement(
        statement.inputs.account,
        snapshot_from_file(statement.inputs.market),
        data,
        at_ns=parse_time(statement.inputs.at, field="inputs.at"),
        kernel=kernel,
        solve=bool(statement.liquidation),
    )


def encode_statement(statement: Statement) -> bytes:
    """Encode as indented JSON; the same statement gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(statement), indent=2) + b"\n"


def decode_statement(raw: bytes) -> Statement:
    """Decode a statement from JSON."""
    return decode_json(raw, Statement, what="statement")


def _named_by(ruleset: Ruleset) -> list[str]:
    """Assets that the rules themselves price: an account need not hold any of them."""
    pegs = [c.asset for c in ruleset.data.components if isinstance(c, PegFactor | PegCharge)]
    return [ruleset.data.numeraire, *pegs]


def _hashes(inputs: Inputs, ruleset: Ruleset) -> Hashes:
    def digest(part: object) -> str:
        return hashlib.sha256(msgspec.json.encode(part)).hexdigest()

    return Hashes(
        account=digest(inputs.account),
        market=digest([inputs.market, inputs.at]),
        ruleset=ruleset.content_hash,
        code_version=__version__,
    )


def _ruleset_info(frame: Frame, need: Requirement) -> RulesetInfo:
    ruleset = frame.ruleset
    data = ruleset.data
    here = gaps_here(frame, need)
    return RulesetInfo(
        id=data.id,
        title=data.title,
        venue=data.venue,
        effective_from=data.effective_from,
        complete=ruleset.complete,
        complete_here=not here,
        gaps_here=here,
        gaps=list(ruleset.gaps),
        overrides=list(ruleset.overrides),
        limits=list(data.limits),
    )
