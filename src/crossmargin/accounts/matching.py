"""Our journal against a venue's log: what agrees, what does not, and what would mend it.

Both sides are lines of signed amounts in whole quanta. They are matched in rounds, each more
lenient than the one before, and every line ends in exactly one match or one break, so that

    sum of theirs − sum of ours = sum of the breaks' differences,   asset by asset, exactly.

Rounds: (1) the same reference (a trade's rows may be several on either side: their sums are
compared); (2) the same class and amount within the tolerance of time, nearest first; (3) the same
amount within it, of another class; (4) the same class and amount, farther apart; (5) the same class
within it, of another amount; what is left is missing on one side. Source: house.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from crossmargin.units import NS_PER_DAY, NS_PER_SECOND

Class = Literal[
    "deposit", "withdrawal", "transfer", "trade", "fee", "funding", "interest", "settlement",
    "liquidation", "conversion", "other",
]  # fmt: skip

BreakKind = Literal[
    "missing here", "missing there", "twice here", "twice there", "amount", "time", "class"
]

#: Ages, youngest first: name and least age.
AGES = (
    ("under an hour", 0),
    ("under a day", 3_600 * NS_PER_SECOND),
    ("under a week", NS_PER_DAY),
    ("a week and more", 7 * NS_PER_DAY),
)

#: Lines are looked for this far apart, unless another tolerance is given: venues stamp a row when
#: they book it.
TOLERANCE_NS = 60 * NS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One change of a balance, in our journal or in a venue's log.

    Attributes
    ----------
    id : str
        Unique on its side.
    time_ns : int
        When it was booked.
    asset : str
        Of the balance.
    amount : int
        Quanta; positive came in.
    kind : str
        What for, in common words.
    reference : str
        Trade, funding or payment id that both sides know; empty where there is none.
    note : str
        The side's own words, for people.
    """

    id: str
    time_ns: int
    asset: str
    amount: int
    kind: Class
    reference: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Lines that agree: one with one, or the rows of one reference with each other."""

    ours: tuple[LogLine, ...]
    theirs: tuple[LogLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Lines that do not agree.

    Attributes
    ----------
    kind : str
        What is wrong.
    asset : str
        Of all its lines.
    ours, theirs : tuple of LogLine
        Either may be empty.
    difference : int
        Theirs − ours, quanta.
    age_ns : int
        Since the earliest of its lines.
    """

    kind: BreakKind
    asset: str
    ours: tuple[LogLine, ...]
    theirs: tuple[LogLine, ...]
    difference: int
    age_ns: int

    @property
    def age(self) -> str:
        """Its bucket of age."""
        return next(name for name, least in reversed(AGES) if self.age_ns >= least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """How two logs compare.

    Attributes
    ----------
    matched : tuple of Match
        In the order of time.
    breaks : tuple of Break
        Oldest first.
    """

    matched: tuple[Match, ...]
    breaks: tuple[Break, ...]

    @property
    def differences(self) -> dict[str, int]:
        """Theirs − ours by asset, quanta: what the breaks add up to."""
        total: dict[str, int] = defaultdict(int)
        for one in self.breaks:
            total[one.asset] += one.difference
        return {asset: total[asset] for asset in sorted(total) if total[asset]}


def match_logs(
    ours: Iterable[LogLine],
    theirs: Iterable[LogLine],
    *,
    as_of_ns: int,
    tolerance_ns: int = TOLERANCE_NS,
) -> Reconciliation:
    """Match two logs.

    Parameters
    ----------
    ours, theirs : iterable of LogLine
        Of the same account and period; in any order.
    as_of_ns : int
        Now, for ages.
    tolerance_ns : int
        How far apart two stamps of one thing may be.

    Returns
    -------
    Reconciliation
        Every line in exactly one match or break.
    """
    work = _Work(as_of_ns, _ordered(ours), _ordered(theirs))
    work.twice()
    work.by_reference()
    near = tolerance_ns
    work.pair(lambda x: (x.asset, x.kind, x.amount), near, None)
    work.pair(lambda x: (x.asset, x.amount), near, "class")
    work.pair(lambda x: (x.asset, x.kind, x.amount), None, "time")
    work.pair(lambda x: (x.asset, x.kind), near, "amount")
    for line in work.ours:
        work.broken("missing there", (line,), ())
    for line in work.theirs:
        work.broken("missing here", (), (line,))
    matched = sorted(work.matched, key=lambda m: _first(m.ours, m.theirs))
    breaks = sorted(work.breaks, key=lambda b: _first(b.ours, b.theirs))
    return Reconciliation(matched=tuple(matched), breaks=tuple(breaks))


def _ordered(lines: Iterable[LogLine]) -> list[LogLine]:
    return sorted(lines, key=lambda x: (x.time_ns, x.id))


def _time(line: LogLine) -> int:
    return line.time_ns


def _first(ours: Sequence[LogLine], theirs: Sequence[LogLine]) -> tuple[int, str]:
    return min((x.time_ns, x.id) for x in (*ours, *theirs))


class _Work:
    """What is still to be matched, and what came of the rest."""

    def __init__(self, as_of_ns: int, ours: list[LogLine], theirs: list[LogLine]) -> None:
        self.ours, self.theirs = ours, theirs
        self.matched: list[Match] = []
        self.breaks: list[Break] = []
        self._now = as_of_ns

    def broken(
        self, kind: BreakKind, ours: tuple[LogLine, ...], theirs: tuple[LogLine, ...]
    ) -> None:
        """Note a break."""
        self.breaks.append(
            Break(
                kind=kind,
                asset=(*ours, *theirs)[0].asset,
                ours=ours,
                theirs=theirs,
                difference=sum(x.amount for x in theirs) - sum(x.amount for x in ours),
                age_ns=max(0, self._now - _first(ours, theirs)[0]),
            )
        )

    def twice(self) -> None:
        """Set aside lines that repeat an id of their own side."""
        self.ours, again = _without_repeats(self.ours)
        for line in again:
            self.broken("twice here", (line,), ())
        self.theirs, again = _without_repeats(self.theirs)
        for line in again:
            self.broken("twice there", (), (line,))

    def by_reference(self) -> None:
        """Compare the sums of the rows that name the same thing, in one asset."""
        here, there = _by_reference(self.ours), _by_reference(self.theirs)
        for key in sorted(here.keys() & there.keys()):
            a, b = tuple(here[key]), tuple(there[key])
            if sum(x.amount for x in a) == sum(x.amount for x in b):
                self.matched.append(Match(ours=a, theirs=b))
            else:
                self.broken("amount", a, b)
        both = here.keys() & there.keys()
        self.ours = [x for x in self.ours if (x.reference, x.asset) not in both]
        self.theirs = [x for x in self.theirs if (x.reference, x.asset) not in both]

    def pair(
        self,
        key: Callable[[LogLine], Hashable],
        within_ns: int | None,
        kind: BreakKind | None,
    ) -> None:
        """Pair lines of the same key, nearest in time first; None within means any distance."""
        waiting: dict[Hashable, list[LogLine]] = defaultdict(list)
        for line in self.theirs:
            waiting[key(line)].append(line)
        offers = []
        for n, line in enumerate(self.ours):
            others = waiting.get(key(line), [])
            first, last = 0, len(others)
            if within_ns is not None:
                # In the order of time, so that only neighbours are looked at.
                first = bisect_left(others, line.time_ns - within_ns, key=_time)
                last = bisect_right(others, line.time_ns + within_ns, key=_time)
            for m in range(first, last):
                other = others[m]
                # Two lines that name different things are not the same thing.
                if not (line.reference and other.reference):
                    offers.append((abs(line.time_ns - other.time_ns), n, m, line, other))
        taken_ours: set[str] = set()
        taken_theirs: set[str] = set()
        for _, _, _, line, other in sorted(offers, key=lambda x: x[:3]):
            if line.id in taken_ours or other.id in taken_theirs:
                continue
            taken_ours.add(line.id)
            taken_theirs.add(other.id)
            if kind is None:
                self.matched.append(Match(ours=(line,), theirs=(other,)))
            else:
                self.broken(kind, (line,), (other,))
        self.ours = [x for x in self.ours if x.id not in taken_ours]
        self.theirs = [x for x in self.theirs if x.id not in taken_theirs]


def _by_reference(lines: Sequence[LogLine]) -> dict[tuple[str, str], list[LogLine]]:
    found: dict[tuple[str, str], list[LogLine]] = defaultdict(list)
    for line in lines:
        if line.reference:
            found[line.reference, line.asset].append(line)
    return found


def _without_repeats(lines: Sequence[LogLine]) -> tuple[list[LogLine], list[LogLine]]:
    seen: set[str] = set()
    once: list[LogLine] = []
    again: list[LogLine] = []
    for line in lines:
        (again if line.id in seen else once).append(line)
        seen.add(line.id)
    return once, again


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What would mend a break; nothing is booked by itself.

    Attributes
    ----------
    what : {"book", "reverse", "ask", "relabel"}
        Book in our journal, reverse in our journal, ask the venue, or change time or class only.
    asset : str
        Of the amount.
    amount : int
        Signed quanta to book here: 0 where nothing is to be booked.
    kind : str
        Class to book it under.
    words : str
        A sentence.
    """

    what: Literal["book", "reverse", "ask", "relabel"]
    asset: str
    amount: int
    kind: Class
    words: str


def correction_of(broken: Break) -> Correction:
    """Propose what would mend a break, taking the venue's log for the truth about its balance.

    What only we have is put to the venue first: it may still be on its way.
    """
    line = (*broken.theirs, *broken.ours)[0]
    named = line.reference or line.id
    if broken.kind == "missing here":
        return Correction(
            what="book", asset=broken.asset, amount=broken.difference, kind=line.kind,
            words=f"book the venue's {line.kind} {named}, which we do not have",
        )  # fmt: skip
    if broken.kind == "amount":
        return Correction(
            what="book", asset=broken.asset, amount=broken.difference, kind=line.kind,
            words=f"book the difference of {line.kind} {named}; find out whose figure is wrong",
        )  # fmt: skip
    if broken.kind == "twice here":
        return Correction(
            what="reverse", asset=broken.asset, amount=broken.difference, kind=line.kind,
            words=f"reverse {line.kind} {named}, which we booked again",
        )  # fmt: skip
    if broken.kind == "missing there":
        return Correction(
            what="ask", asset=broken.asset, amount=0, kind=line.kind,
            words=f"ask the venue for {line.kind} {named}, which it does not have; else reverse it",
        )  # fmt: skip
    if broken.kind == "twice there":
        return Correction(
            what="ask", asset=broken.asset, amount=0, kind=line.kind,
            words=f"ask the venue why its log has {named} again",
        )  # fmt: skip
    return Correction(
        what="relabel", asset=broken.asset, amount=0, kind=line.kind,
        words=f"the amounts of {named} agree; correct our {broken.kind}",
    )  # fmt: skip
