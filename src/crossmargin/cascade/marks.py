"""Index and mark while a venue's own book falls away from the rest of the world.

The venue's book stands at ``exogenous·e^{displacement}``; whether an account feels that depends on
the mark. A rule decides how much of the book's own move reaches the index, and how the mark is
formed of index and book. Collateral that wraps another asset may be marked at what it redeems for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from crossmargin.cascade.figures import Floats, number, numbers, unknown
from crossmargin.errors import CascadeError
from crossmargin.market import default_policy
from crossmargin.units import NS_PER_SECOND

#: ``book``: the venue's own last price. ``index``: the index alone. ``basis``: the index with the
#: smoothed basis of the book. ``median``: the median of these three.
MarkKind = Literal["book", "index", "basis", "median"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """Collateral that redeems for something else: a staked coin, a synthetic dollar.

    Attributes
    ----------
    asset : int
        Column of the collateral.
    base : int or None
        Column of what it redeems for; None: US dollars.
    rate : float
        Units of the base for one unit, > 0.
    """

    asset: int
    base: int | None = None
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkState:
    """Basis by asset, float64[J]: smoothed, and the clamped observation that holds now."""

    smoothed: Floats
    held: Floats


@lru_cache(maxsize=1)
def _basis_figures() -> tuple[float, float]:
    policy = default_policy()
    return policy.basis_tau_s, policy.basis_max


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRule:
    """How marks are formed. By default a mark is the venue's own book.

    1. Source i of an index prints ``exogenous·(book/exogenous)^{s_i}·(1 + e_i)``: s_i is the
       share of the book's displacement that is felt there (1: the book itself or a venue tied to
       it; 0: elsewhere), e_i an error. The index is the median of its sources.
    2. The basis ``book/index − 1`` is clamped and smoothed as
       :func:`crossmargin.market.smoothed_basis` does, step by step.
    3. The mark is one of :data:`MarkKind`.
    4. Wrapped collateral with `redemption` is marked at ``rate × mark of its base``.

    Source: cascades.md (a) step 3 ("median of index, book, EMA basis; switch: own-book vs
    redemption mark for wrapped collateral"), §2 fact 11; requirements rows A18 and B11 for the
    median. Shares s_i are ours (house).

    Attributes
    ----------
    kind : MarkKind
        See there.
    sources : tuple of float
        s_i, 0 to 1.
    errors : tuple of float or None
        e_i > −1; None: none.
    tau_s, basis_max : float or None
        Time constant and clamp of the basis; None: those of the house's trust policy
        (``market/trust_policy.toml``).
    wrapped : tuple of Wrapped
        Collateral that has a redemption rate.
    redemption : bool
        Whether it is marked at that rate, not at the venue's book.
    """

    kind: MarkKind = "book"
    sources: tuple[float, ...] = (1.0,)
    errors: tuple[float, ...] | None = None
    tau_s: float | None = None
    basis_max: float | None = None
    wrapped: tuple[Wrapped, ...] = ()
    redemption: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(MarkKind):
            raise unknown("mark", self.kind, get_args(MarkKind))
        if not numbers("sources", self.sources, least=0, most=1).size:
            raise CascadeError("an index needs a source", code="CAS-001", field="sources")
        errors = () if self.errors is None else self.errors
        if numbers("errors", errors, above=-1).size not in (0, len(self.sources)):
            raise CascadeError("errors are one for each source", code="CAS-001", field="errors")
        for item in self.wrapped:
            number("rate", item.rate, above=0)
        if self.tau_s is not None:
            number("tau_s", self.tau_s, above=0)
        if self.basis_max is not None:
            number("basis_max", self.basis_max, above=0, most=1 - 1e-12)

    @property
    def plain(self) -> bool:
        """Whether marks are the venue's own book and nothing else."""
        return self.kind == "book" and not (self.redemption and self.wrapped)

    def start(self, assets: int) -> MarkState:
        """Return the state where no book is away from its index."""
        return MarkState(smoothed=np.zeros(assets), held=np.zeros(assets))

    def index(self, book: Floats, exogenous: Floats) -> Floats:
        """Return the index of every asset, float64[J]."""
        away = np.log(book / exogenous)
        share = np.asarray(self.sources, dtype=np.float64)[:, None]
        prints = exogenous * np.exp(share * away)
        if self.errors:
            prints = prints * (1.0 + np.asarray(self.errors, dtype=np.float64)[:, None])
        return np.asarray(np.median(prints, axis=0), dtype=np.float64)

    def next(
        self, state: MarkState, book: Floats, exogenous: Floats, dt_ns: int
    ) -> tuple[MarkState, Floats, Floats]:
        """Form index and mark at the end of a step.

        Parameters
        ----------
        state : MarkState
            Of the moment before.
        book, exogenous : float64[J]
            The venue's own prices now, and those of a world without it, US dollars.
        dt_ns : int
            Time since the moment before.

        Returns
        -------
        state : MarkState
            Now.
        index, mark : float64[J]
            US dollars.
        """
        index = self.index(book, exogenous)
        if self.plain:
            return state, index, book
        tau, limit = _basis_figures()
        tau = tau if self.tau_s is None else self.tau_s
        limit = limit if self.basis_max is None else self.basis_max
        # What was seen at the moment before has held since then; what is seen now counts later.
        kept = float(np.exp(-dt_ns / NS_PER_SECOND / tau))
        smoothed = kept * state.smoothed + (1.0 - kept) * state.held
        held = np.clip(book / index - 1.0, -limit, limit)
        after = replace(state, smoothed=smoothed, held=held)
        with_basis = index * (1.0 + smoothed)
        mark = {
            "book": book,
            "index": index,
            "basis": with_basis,
            "median": np.median(np.stack([index, book, with_basis]), axis=0),
        }[self.kind]
        return after, index, self._redeemed(np.asarray(mark, dtype=np.float64))

    def _redeemed(self, mark: Floats) -> Floats:
        if not self.redemption:
            return mark
        out = mark.copy()
        for item in self.wrapped:
            out[item.asset] = item.rate * (1.0 if item.base is None else mark[item.base])
        return out


def depegged(price: ArrayLike, discount: ArrayLike) -> Floats:
    """Return the prices of a venue's own book where collateral trades below what it redeems for.

    ``book = price·e^{discount}``: the discount (logarithm, by asset) is the venue's alone. An index
    with other sources, or a redemption mark, does not see it (cascades.md §2, fact 11).
    """
    found = numbers("price", price, above=0) * np.exp(numbers("discount", discount))
    return np.asarray(found, dtype=np.float64)
