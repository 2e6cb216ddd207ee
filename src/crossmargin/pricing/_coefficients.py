"""Polynomials of the compiled kernel, stored as literals so that nothing is fitted at import.

Each is the Chebyshev interpolant of its function, computed with 60 digits and rounded once to
float64; lowest power first. The unit tests hold the generator, fit them again with mpmath and
compare every literal. The on-disk cache of compiled code is keyed on the kernel's file, not on
this one: after an edit here, touch ``_numba.py``.
"""

from __future__ import annotations

ERFCX_CENTRE = 3.75
"""Scale of the map ``t = (a − 3.75)/(a + 3.75)`` that takes a = 0..∞ to −1..1."""

HALF_ERFCX = (
    0.5459614547813946,
    -0.47937078832645474,
    0.3681594626108759,
    -0.2452351456038443,
    0.13953102451688776,
    -0.06597770058911724,
    0.02455938930776067,
    -0.006267940022542363,
    0.0004931690381922884,
    0.00039741156447675887,
    -0.0001743234165329591,
    5.296931927343892e-06,
    1.873582178675299e-05,
    -4.451809633499058e-06,
    -1.6446804740176568e-06,
    8.277860786659668e-07,
    1.3995386785822456e-07,
    -1.3168037096895666e-07,
    -1.361514372065041e-08,
    2.0098945623619037e-08,
    1.8208588829616038e-09,
    -2.6824138975616424e-09,
    -2.8004539287848826e-10,
    2.1988768305587025e-10,
    2.751055428122987e-11,
)
"""``(a + 3.75) erfcx(a) / 2`` as a polynomial of degree 24 in t, −1 ≤ t ≤ 1.

The factor a + 3.75 removes the decay like 1/a, so that the relative error is near 1e-16 for
every a; the half belongs to ``N(−x) = erfcx(x/√2) exp(−x²/2) / 2``.
"""

EXP_REST = (
    0.5000000000000001,
    0.16666666666666669,
    0.041666666666624164,
    0.008333333333330065,
    0.0013888888917196719,
    0.00019841269863040545,
    2.4801521322368692e-05,
    2.7557268480310024e-06,
    2.7620075879983367e-07,
    2.5100375832561234e-08,
)
"""``(exp(r) − 1 − r)/r²`` as a polynomial of degree 9 in r, ``|r| ≤ ln(2)/2``."""

ATANH_REST_LIMIT = 0.042
"""Largest ``z²`` that the logarithm's argument reduction leaves (z ≤ 0.2), with a margin."""

ATANH_REST = (
    0.6666666666666666,
    0.4000000000001106,
    0.2857142856590786,
    0.2222222327069289,
    0.18181720592633382,
    0.15389532133201755,
    0.13196949543228448,
    0.1370473041022565,
)
"""``(2 atanh(z) − 2z)/z³`` as a polynomial of degree 7 in ``z²``, from 0 to the limit."""
