"""Compiled pieces of a JSON reader (RFC 8259), each from a position in UTF-8 bytes to the one after what it reads.

They read a part of JSON only: strings without escapes, numbers of at most MOST_DIGITS digits. -1 stands for "not that".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from connectors.compiled import compiled
from connectors.error_free import two_product

Bytes = NDArray[np.uint8]


def constant(text: str) -> Bytes:
    """Text as the functions here compare it: its UTF-8 bytes, uint8 (N,)."""
    return np.frombuffer(text.encode(), np.uint8)


TRUE, FALSE, NULL = constant("true"), constant("false"), constant("null")
QUOTE, COMMA, COLON, BACKSLASH, MINUS, PLUS, POINT, ZERO, NINE, SMALL_E = map(int, b'",:\\-+.09e')
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT, BLANK = map(int, b"[]{} ")

POWERS_OF_TEN = np.array([float(10**exponent) for exponent in range(23)])
"""Those that float64 holds exactly."""

MOST_DIGITS = 18
"""Numbers of more digits are left to Python."""


@compiled
def blanks(text: Bytes, at: int) -> int:
    """Position after blanks."""
    while at < text.size and (text[at] == BLANK or 9 <= text[at] <= 10 or text[at] == 13):
        at += 1
    return at


@compiled
def next_is(text: Bytes, at: int, character: int) -> bool:
    """Whether `character` stands at a position; no at -1 and behind the end."""
    return 0 <= at < text.size and text[at] == character


@compiled
def after(text: Bytes, at: int, character: int) -> int:
    """Position after `character` and the blanks that follow it, -1 if it is not there."""
    return blanks(text, at + 1) if next_is(text, at, character) else -1


@compiled
def string_end(text: Bytes, at: int) -> int:
    """Position of the closing quote of the string that starts at `at`, -1 if there is none or it holds an escape."""
    if not next_is(text, at, QUOTE):
        return -1
    at += 1
    while at < text.size and text[at] != QUOTE:
        if text[at] == BACKSLASH or text[at] < BLANK:
            return -1
        at += 1
    return at if at < text.size else -1


@compiled
def equals(text: Bytes, start: int, end: int, word: Bytes) -> bool:
    """Whether text[start:end] is `word`."""
    if end - start != word.size:
        return False
    for i in range(word.size):  # noqa: SIM110 - numba compiles no generators
        if text[start + i] != word[i]:
            return False
    return True


@compiled
def _digits(text: Bytes, at: int, mantissa: int) -> tuple[int, int]:
    """Position after digits, and the mantissa with them appended; meaningless after more than MOST_DIGITS."""
    while at < text.size and ZERO <= text[at] <= NINE:
        mantissa = mantissa * 10 + (int(text[at]) - ZERO)
        at += 1
    return at, mantissa


@compiled
def number(text: Bytes, at: int) -> tuple[int, float, bool]:
    """Position after a JSON number (-1 if there is none), the float64 nearest to it, and whether that is certain."""
    negative = next_is(text, at, MINUS)
    first = at + 1 if negative else at
    at, mantissa = _digits(text, first, 0)
    digits, scale = at - first, 0
    if digits == 0 or (text[first] == ZERO and digits > 1):
        return -1, 0.0, False
    if next_is(text, at, POINT):
        first = at + 1
        at, mantissa = _digits(text, first, mantissa)
        scale = at - first
        digits += scale
        if scale == 0:
            return -1, 0.0, False
    if at < text.size and text[at] | 32 == SMALL_E:
        at += 1
        sign = -1 if next_is(text, at, MINUS) else 1
        first = at + 1 if sign < 0 or next_is(text, at, PLUS) else at
        at, exponent = _digits(text, first, 0)
        if at == first:
            return -1, 0.0, False
        digits = max(digits, at - first)
        scale -= sign * exponent
    if digits > MOST_DIGITS or not 0 <= scale < POWERS_OF_TEN.size:
        return at, 0.0, False
    value, certain = _divided(mantissa, POWERS_OF_TEN[scale])
    return at, -value if negative else value, certain


@compiled
def _divided(mantissa: int, power: float) -> tuple[float, bool]:
    """The float64 nearest to mantissa / power (mantissa < 2⁶⁰, power ≤ 10²²), and whether it certainly is that one.

    What the quotient of the rounded mantissa leaves is divided too; the sum is certain if it stays the same when that
    second quotient, which is good to 2⁻⁵², is off by 2⁻⁵⁰.
    """
    whole = float(mantissa)
    quotient = whole / power
    product, error = two_product(quotient, power)
    rest = ((whole - product) - error + float(mantissa - int(whole))) / power
    slack = abs(rest) * 2.0**-50
    low, high = quotient + (rest - slack), quotient + (rest + slack)
    return low, low == high


@compiled
def after_scalar(text: Bytes, at: int) -> int:
    """Position after a string without escapes, a number or a literal, -1 for anything else."""
    if next_is(text, at, QUOTE):
        end = string_end(text, at)
        return end + 1 if end >= 0 else -1
    for word in (TRUE, FALSE, NULL):
        if at + word.size <= text.size and equals(text, at, at + word.size, word):
            return at + word.size
    end, _, _ = number(text, at)
    return end


@compiled
def next_key(text: Bytes, at: int) -> tuple[int, int, int]:
    """First and last position + 1 of a key, and the position of its value, -1 if there is no plain key."""
    end = string_end(text, at)
    return at + 1, end, after(text, blanks(text, end + 1), COLON) if end >= 0 else -1


@compiled
def after_integer(text: Bytes, at: int, expected: int) -> int:
    """Position after a plain positive integer, -1 if it is not the expected one."""
    end, found = _digits(text, at, 0)
    is_integer = 0 < end - at <= MOST_DIGITS and text[at] != ZERO and not next_is(text, end, POINT)
    is_integer = is_integer and not (end < text.size and text[end] | 32 == SMALL_E)
    return end if is_integer and found == expected else -1


@compiled
def after_word(text: Bytes, at: int, word: Bytes) -> int:
    """Position after the string `word`, -1 if it is another."""
    end = string_end(text, at)
    return end + 1 if end >= 0 and equals(text, at + 1, end, word) else -1
