"""Answers a page can check but not tell.

The numbers near an answer fall into cells of a grid; each cell that touches the accepted interval becomes a *box*: the digest of
the cell's name, its first bytes as they are (so that the page knows the box when a reader's number falls into that cell), the next
ones covering the two ends of the interval (so that it then compares exactly, as ``Answer.check`` does). The grid says how fine the
answer is, which the reader is told anyway, and nothing about its size.

What this keeps: neither the answer nor its bounds can be read, searched or guessed at in the page's source. What it does not: who
writes a program can try all numbers of that fineness. ``_static/selftest-check.js`` is the other half.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256

from answers import ZERO, Answer, Number

ROUNDS = 200        # makes trying all numbers slower; 200 000 of them take a browser minutes, one answer a millisecond
EXACT = 8           # significant digits of the grid for integers and fractions, whose interval is floating-point noise
TAG = 8             # bytes of a box that name its cell; sixteen more hold the interval
FEWEST = 2          # boxes of a number: one alone would say that the answer lies in the middle of its cell


def grid(number: Number, tolerance: Fraction | None, relative: bool) -> str:
    """``d3``: cells of three significant digits. ``s0.1``: cells of that width."""
    low, high = number.bounds(tolerance, relative)
    if tolerance is None and not number.half:
        return f'd{EXACT}'
    if low <= 0 <= high or not (tolerance is None or relative):
        width = max(high - low, math.ulp(high))
        return f's{float(f"1e{math.ceil(math.log10(width))}")!r}'
    digits = math.floor(-math.log10(2 * tolerance)) if relative else significant(number) - 1
    return f'd{max(1, min(EXACT, digits))}'


def significant(number: Number) -> int:
    """How many significant digits a decimal was written with."""
    written, last = abs(number.value), 2 * number.half
    return len(str(int(written / last)))


def cells(low: float, high: float, grid: str) -> Iterator[str]:
    """Names of the cells between two numbers, the same a browser gives to a number in them."""
    if grid[0] == 's':
        step = float(grid[1:])
        yield from map(str, range(math.floor(low / step), math.floor(high / step) + 1))
    elif high < 0:
        for cell in cells(-high, -low, grid):
            yield cell if cell == '0' else '-' + cell
    else:
        if low <= ZERO:
            yield '0'
        if high > ZERO:
            yield from _exponentials(max(low, ZERO), high, int(grid[1:]))


def _exponentials(low: float, high: float, digits: int) -> Iterator[str]:
    exponent, number = _rounded(low, digits)
    last = _rounded(high, digits)
    while (exponent, number) <= last:
        head, tail = str(number)[0], str(number)[1:]
        yield f'{head}{"." if tail else ""}{tail}e{exponent:+d}'
        number += 1
        if number == 10**digits:
            exponent, number = exponent + 1, 10 ** (digits - 1)


def _rounded(value: float, digits: int) -> tuple[int, int]:
    """JavaScript's ``toExponential``: exact, ties away from zero, where Python's formatting goes to even."""
    exact = Fraction(value)
    exponent = math.floor(math.log10(value))
    while Fraction(10) ** (exponent + 1) <= exact:
        exponent += 1
    while Fraction(10) ** exponent > exact:
        exponent -= 1
    number = math.floor(exact / Fraction(10) ** (exponent - digits + 1) + Fraction(1, 2))
    return (exponent + 1, number // 10) if number == 10**digits else (exponent, number)


def digest(text: str) -> bytes:
    result = sha256(text.encode()).digest()
    for _ in range(ROUNDS):
        result = sha256(result).digest()
    return result


def boxes(number: Number, tolerance: Fraction | None, relative: bool, grid: str, salt: str) -> list[str]:
    low, high = number.bounds(tolerance, relative)
    ends = struct.pack('>dd', low, high)
    found = []
    for cell in cells(low, high, grid):
        key = digest(f'{salt}|{cell}')
        found.append(key[:TAG].hex() + bytes(one ^ other for one, other in zip(ends, key[TAG:], strict=False)).hex())
    for extra in range(FEWEST - len(found)):
        found.append(digest(f'{salt}|empty {extra}')[: TAG + len(ends)].hex())
    return sorted(found)


def seal(answer: Answer, salt: str) -> list[dict[str, object]]:
    """Grid and boxes of each number of a part."""
    sealed = []
    for index, number in enumerate(answer.numbers):
        cut = grid(number, answer.tolerance, answer.relative)
        sealed.append({'grid': cut, 'boxes': boxes(number, answer.tolerance, answer.relative, cut, f'{salt}|{answer.part}|{index}')})
    return sealed
