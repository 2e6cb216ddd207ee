"""What prices do to accounts, to first order: the brackets of the loop gain as sparse columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossmargin.cascade.figures import numbers
from crossmargin.cascade.population import Population
from crossmargin.errors import CascadeError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Derivatives with respect to the returns of the assets, US dollars.

    Attributes
    ----------
    prices : float64[J]
        Where they are taken.
    notional : csr [A, K]
        n, signed.
    gained : csr [A, J]
        Of equity, and of a procyclical requirement: ``n + c·(1 − h) − (∂m/∂r)·|n|``.
    freed : csr [A, J]
        Of the requirement at fixed rates: ``m·|n|``, the rate of the last slice.
    slack : float64[A]
        Equity minus maintenance.
    relief : float64[A]
        Requirement freed by closing everything at the rates of the last slices.
    """

    prices: Floats
    notional: csr_matrix
    gained: csr_matrix
    freed: csr_matrix
    slack: Floats
    relief: Floats


class Maintenance:
    """Maintenance of positions at any notionals, all brackets in one array.

    Attributes
    ----------
    floors, rates, less : float64[K, B]
        Brackets of each contract, filled up with floors that nothing reaches; the requirement
        in bracket b is ``rate·notional − less``.
    """

    def __init__(self, population: Population) -> None:
        self._contract = population.contract
        k = len(population.contracts)
        tables = population.brackets
        widest = 1 if tables is None else max(len(t.floors) for t in tables)
        self.floors = np.full((k, widest), np.inf)
        self.rates, self.less = np.zeros((k, widest)), np.zeros((k, widest))
        if tables is None:
            self.floors[:, 0], self.rates[:, 0] = 0.0, population.mm_rate
        for row, table in enumerate(tables or ()):
            count = len(table.floors)
            floors, rates = np.array(table.floors), np.array(table.rates)
            self.floors[row, :count], self.rates[row, :count] = floors, rates
            self.less[row, 1:count] = np.cumsum(floors[1:] * np.diff(rates))

    def at(self, notional: Floats) -> tuple[Floats, Floats]:
        """Return the rate of the last slice and the requirement, float64[N] each.

        Parameters
        ----------
        notional : float64[N]
            |notional| of each position, US dollars.
        """
        place = np.zeros(notional.size, dtype=np.int64)
        for b in range(1, self.floors.shape[1]):
            place += notional > self.floors[self._contract, b]
        rate = self.rates[self._contract, place]
        return rate, rate * notional - self.less[self._contract, place]


def exposure_of(
    population: Population, price: ArrayLike | None = None, margin_slope: ArrayLike | None = None
) -> Exposure:
    """Work out the derivatives of a population at prices [J] (default its marks)."""
    from scipy.sparse import csr_matrix

    p = population.price if price is None else numbers("price", price, above=0.0)
    if p.shape != population.price.shape:
        raise CascadeError("a price for each asset is needed", code="CAS-001", field="price")
    accounts, k, j = population.size, len(population.contracts), len(population.assets)
    n = population.quantity * p[population.contract]
    required = Maintenance(population).at(np.abs(n))[0] * np.abs(n)

    def rows(values: Floats, columns: int) -> csr_matrix:
        # A copy: scipy sorts a matrix's indices in place when it feels like it.
        return csr_matrix(
            (values, population.contract, population.start), shape=(accounts, columns), copy=True
        )

    gained = rows(n, j)
    if population.coll_asset.size:
        gained = gained + csr_matrix(
            (_counted(population, p), population.coll_asset, population.coll_start),
            shape=(accounts, j),
            copy=True,
        )
    if margin_slope is not None:
        gained = gained + rows(np.abs(n), k) @ csr_matrix(_slopes(margin_slope, k, j))
    return Exposure(
        prices=p,
        notional=rows(n, k),
        gained=gained.tocsr(),
        freed=rows(required, j),
        slack=population.equity(p) - population.maintenance(p),
        relief=np.bincount(population.account, required, minlength=accounts).astype(np.float64),
    )


def _counted(population: Population, p: Floats) -> Floats:
    """Collateral as equity counts it: after the haircut, debts whole."""
    c, asset = population.coll_quantity, population.coll_asset
    cut = np.where(c > 0, 1.0 - population.haircut[asset], 1.0)
    return np.asarray(c * p[asset] * cut)


def _slopes(margin_slope: ArrayLike, k: int, j: int) -> Floats:
    slope = numbers("margin_slope", margin_slope)
    out = np.zeros((k, j))
    if slope.shape in ((), (k,)):
        out[np.arange(k), np.arange(k)] = slope
    elif slope.shape == (k, j):
        out[:] = slope
    else:
        raise CascadeError(
            f"margin slopes of shape {slope.shape}; {k} contracts and {j} assets are there",
            code="CAS-001",
            field="margin_slope",
        )
    return out
