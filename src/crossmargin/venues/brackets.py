"""Margin brackets of venues as data for the ``rate`` component of a rule-set.

A bracket table is a list of sizes and rates in the venue's own unit: quote currency, coins or
contracts. Two schemes exist. *Marginal* (Binance, Bybit): ``MM = size·rate[n] − deduction[n]``
with ``deduction[n] = deduction[n−1] + floor[n]·(rate[n] − rate[n−1])`` (Binance FAQ
ceccfcfb4e3a45e3b48b0b1bb1a8ae46, published). *Whole*: the whole size at the rate of its bracket.
The initial rate of a bracket is one over its highest leverage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from crossmargin.errors import InputError
from crossmargin.venues._reply import plain

Scheme = Literal["marginal", "whole"]

#: Quote currencies whose brackets are read as US dollars; the output says so.
_DOLLARS = frozenset({"USD", "USDT", "USDC"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One bracket.

    Attributes
    ----------
    floor, cap : Decimal
        From and to, in the table's unit; `cap` None without a limit.
    im, mm : Decimal
        Rates as fractions.
    deduction : Decimal or None
        The maintenance deduction that the venue publishes, in the table's unit.
    """

    floor: Decimal
    cap: Decimal | None
    im: Decimal
    mm: Decimal
    deduction: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BracketTable:
    """Brackets of one market.

    Attributes
    ----------
    symbol : str
        As the venue writes it.
    key : str
        As rule-sets look it up: market stem (``BTC_USDT``; ``BTC`` for coin-settled contracts).
    unit : str
        What sizes count: an asset, or ``contracts``.
    scheme : {"marginal", "whole"}
        How rates apply.
    brackets : tuple of Bracket
        Floors rise from 0.
    dated : bool
        Whether it is a dated future's.
    contract : tuple of (Decimal or None, str)
        Size of one contract and the asset that the size counts, where `unit` is contracts.
    """

    symbol: str
    key: str
    unit: str
    scheme: Scheme
    brackets: tuple[Bracket, ...]
    dated: bool = False
    contract: tuple[Decimal | None, str] = (None, "")

    def deductions(self) -> list[Decimal]:
        """Return our own maintenance deductions, exactly, by the recursion above."""
        found = [Decimal(0)]
        for before, this in pairwise(self.brackets):
            found.append(found[-1] + this.floor * (this.mm - before.mm))
        return found

    def maintenance(self, size: Decimal) -> Decimal:
        """Return the maintenance margin of a size (at least 0), both in the table's unit.

        A size on a floor belongs to the bracket below, as in the ``rate`` component.
        """
        place = max(i for i, b in enumerate(self.brackets) if i == 0 or b.floor < size)
        margin = size * self.brackets[place].mm
        return margin if self.scheme == "whole" else margin - self.deductions()[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class BracketReading:
    """Tables read from replies, how many deductions agree with the venue's, and sentences.

    Attributes
    ----------
    venue : str
        Whose shape the replies had.
    tables : tuple of BracketTable
        In the order of the reply.
    checked : int
        Brackets for which the venue publishes a deduction.
    worst : Decimal
        Largest difference between ours and theirs, in the table's unit.
    notes : tuple of str
        What was left out or assumed.
    """

    venue: str
    tables: tuple[BracketTable, ...]
    checked: int
    worst: Decimal
    notes: tuple[str, ...]


def refused(symbol: str, why: str, field: str) -> InputError:
    """Return the error for a table that cannot be used."""
    return InputError(
        f"the brackets of {symbol[:60]} {why}",
        code="INP-064",
        instrument=symbol[:60],
        field=field,
        hint="take the reply again",
    )


def checked_brackets(symbol: str, rows: Iterable[Bracket], field: str) -> tuple[Bracket, ...]:
    """Order brackets and see that they can be ones.

    Raises
    ------
    InputError
        ``INP-064`` when there are none, they do not start at 0, leave a gap or overlap, have a
        maintenance rate above the initial one, or rates outside 0 to 1.
    """
    brackets = tuple(sorted(rows, key=lambda bracket: bracket.floor))
    if not brackets:
        raise refused(symbol, "are empty", field)
    if brackets[0].floor != 0:
        raise refused(symbol, f"begin at {plain(brackets[0].floor)}, not at 0", field)
    for bracket in brackets:
        if not 0 <= bracket.mm <= bracket.im <= 1:
            raise refused(
                symbol,
                f"have the rates {plain(bracket.im)} (initial) and {plain(bracket.mm)} "
                f"(maintenance) from {plain(bracket.floor)} on",
                field,
            )
    for before, this in pairwise(brackets):
        if this.floor <= before.floor or before.cap != this.floor:
            cap = "none" if before.cap is None else plain(before.cap)
            raise refused(
                symbol, f"leave a gap or overlap between {cap} and {plain(this.floor)}", field
            )
    return brackets


def agreement(tables: Iterable[BracketTable]) -> tuple[int, Decimal]:
    """Compare our deductions with the venue's: how many there are, and the largest difference."""
    count, worst = 0, Decimal(0)
    for table in tables:
        for bracket, ours in zip(table.brackets, table.deductions()):
            if bracket.deduction is not None:
                count += 1
                worst = max(worst, abs(bracket.deduction - ours))
    return count, worst


def choose(reading: BracketReading, symbols: Sequence[str]) -> tuple[list[BracketTable], list[str]]:
    """Pick one table per market, those asked for or all.

    Parameters
    ----------
    reading : BracketReading
        From :func:`crossmargin.venues.bracket_replies.read_brackets`.
    symbols : sequence of str
        Venue symbols or market stems; empty for all.

    Returns
    -------
    tables : list of BracketTable
        One per key. A perpetual's table is taken before a dated future's.
    notes : list of str
        What was left out.

    Raises
    ------
    InputError
        ``INP-064`` when an asked symbol is not there.
    """
    known = {name for table in reading.tables for name in (table.symbol, table.key)}
    for symbol in symbols:
        if symbol not in known:
            raise InputError(
                f"the reply has no brackets of {symbol[:60]!r}",
                code="INP-064",
                instrument=symbol[:60],
                field="symbol",
                hint="name a symbol as the venue writes it",
            )
    wanted = [
        table for table in reading.tables if not symbols or {table.symbol, table.key} & set(symbols)
    ]
    chosen: dict[str, BracketTable] = {}
    notes = []
    for table in sorted(wanted, key=lambda one: one.dated):
        if table.key not in chosen:
            chosen[table.key] = table
        elif chosen[table.key].brackets != table.brackets:
            notes.append(
                f"{table.symbol} is left out: {table.key} has the brackets of "
                f"{chosen[table.key].symbol} (rule-sets have one table per market)"
            )
    return [table for table in wanted if chosen[table.key] is table], notes


def usd_per_unit(
    table: BracketTable, prices: Mapping[str, Decimal], sizes: Mapping[str, Decimal]
) -> Decimal:
    """Return what one unit of a table's sizes is worth in US dollars.

    Raises
    ------
    InputError
        ``INP-065`` when a price or the size of a contract is needed and not known.
    """
    asset, size = table.unit, Decimal(1)
    if asset == "contracts":
        stated, asset = table.contract
        known = sizes.get(table.symbol, stated)
        if known is None or not asset:
            raise InputError(
                f"the brackets of {table.symbol} are in contracts whose size is not known",
                code="INP-065",
                instrument=table.symbol,
                field="contract_size",
                hint=f"pass it: --contract-size {table.symbol}=...",
            )
        size = known
    if asset in prices:
        return size * prices[asset]
    if asset in _DOLLARS:
        return size
    raise InputError(
        f"the brackets of {table.symbol} are in {asset}, and rule-sets state them in US dollars",
        code="INP-065",
        instrument=table.symbol,
        field="price",
        hint=f"pass a price in US dollars: --price {asset}=...",
    )


def with_prices(
    tables: Sequence[BracketTable],
    prices: Mapping[str, Decimal],
    sizes: Mapping[str, Decimal],
) -> tuple[list[BracketTable], list[str]]:
    """Part tables that can be written in US dollars from those that cannot, with the reasons."""
    able, notes = [], []
    for table in tables:
        try:
            usd_per_unit(table, prices, sizes)
        except InputError as error:
            notes.append(f"{table.symbol} is left out: {error.message}")
        else:
            able.append(table)
    return able, notes


def parameters_toml(
    reading: BracketReading,
    tables: Sequence[BracketTable],
    *,
    source: str,
    component: str = "futures",
    prices: Mapping[str, Decimal] | None = None,
    contract_sizes: Mapping[str, Decimal] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Write tables as a file of parameters for ``--params``.

    Parameters
    ----------
    reading : BracketReading
        Whence they come.
    tables : sequence of BracketTable
        One per key; all of one scheme.
    source : str
        Named in the file's first lines.
    component : str
        Name of the rule-set's ``rate`` component.
    prices : mapping of str to Decimal, optional
        US dollars per unit of an asset, for tables in coins or contracts.
    contract_sizes : mapping of str to Decimal, optional
        By venue symbol.
    notes : sequence of str
        Written as comments.

    Raises
    ------
    InputError
        ``INP-064`` when there are none, or tables of both schemes; ``INP-065`` as
        :func:`usd_per_unit`.
    """
    schemes = sorted({table.scheme for table in tables})
    if len(schemes) != 1:
        raise InputError(
            "there are no brackets to write" if not tables else "the tables have two schemes",
            code="INP-064",
            field="brackets",
            hint="choose markets with --symbol",
        )
    lines = [
        f"# Margin brackets read from {source!r} ({reading.venue}).",
        "# floor: US dollars of notional; im: one over the bracket's highest leverage.",
        *_at_par(tables, prices or {}),
        f"# scheme: {schemes[0]}"
        + (
            ". Venues charge im on the whole notional: exact where a position states its leverage."
            if schemes[0] == "marginal"
            else ": the whole notional at its bracket's rate."
        ),
    ]
    lines += [f"# {_comment(note)}" for note in notes]
    if any("_" not in table.key and "/" not in table.key for table in tables):
        lines.append("# A key that is a coin alone serves every market of it without its own key.")
    lines += ["", f"[components.{_key(component)}]", f'scheme = "{schemes[0]}"']
    lines += ["use_leverage = true", "", f"[components.{_key(component)}.tiers]"]
    for table in tables:
        per = usd_per_unit(table, prices or {}, contract_sizes or {})
        lines.append(
            f"{_key(table.key)} = [  # {_comment(table.symbol)}, in {_comment(table.unit)}"
        )
        for bracket in table.brackets:
            floor, im, mm = float(bracket.floor * per), float(bracket.im), float(bracket.mm)
            lines.append(f"  {{floor = {floor!r}, im = {im!r}, mm = {mm!r}}},")
        lines.append("]")
    return "\n".join(lines) + "\n"


def _at_par(tables: Sequence[BracketTable], prices: Mapping[str, Decimal]) -> list[str]:
    """Say which stablecoins were taken for dollars."""
    units = sorted({table.unit for table in tables} & _DOLLARS - {"USD"} - set(prices))
    return [f"# One {unit} is taken as one US dollar (--price {unit}=...)." for unit in units]


def _key(text: str) -> str:
    """Write a TOML key, quoted where it needs it."""
    if text.isascii() and text.replace("_", "").replace("-", "").isalnum():
        return text
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def _comment(text: str) -> str:
    """Write a text that cannot end a comment."""
    return "".join(c if c.isprintable() else "?" for c in text)
