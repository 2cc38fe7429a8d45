"""Floating-point arithmetic without error: a rounded result and what the rounding took away, both float64.

J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", Discrete &
Computational Geometry 18, 1997. Exact unless a product under- or overflows.
"""

from __future__ import annotations

from connectors.compiled import compiled

SPLITTER = 2.0**27 + 1.0


@compiled
def two_sum(a: float, b: float) -> tuple[float, float]:
    """Rounded sum and its error: a + b = high + low exactly (theorem 7)."""
    high = a + b
    b_virtual = high - a
    return high, (a - (high - b_virtual)) + (b - b_virtual)


@compiled
def two_product(a: float, b: float) -> tuple[float, float]:
    """Rounded product and its error: a · b = high + low exactly (theorem 18)."""
    high = a * b
    a_big = SPLITTER * a
    a_high = a_big - (a_big - a)
    a_low = a - a_high
    b_big = SPLITTER * b
    b_high = b_big - (b_big - b)
    b_low = b - b_high
    return high, a_low * b_low - (((high - a_high * b_high) - a_low * b_high) - a_high * b_low)
