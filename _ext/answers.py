"""Declared answers: the text of ``:answer:`` read into numbers, and values compared with them.

``parse('a = 64; b = 8.0 GiB ± 1%')`` gives one :class:`Answer` per part (key ``''`` for a single, unnamed one).
An answer is a number or a tuple of numbers, a unit, and an interval around each number in which a value counts as equal:
the declared tolerance, or nothing for integers and fractions, or half a unit of the last digit written for decimals.
"""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pint

NOISE = 1e-9        # what floating-point work may add, relative to the value
ZERO = 1e-12        # the same where the value is zero

# Everything the book measures. Not pint's default registry: there a bit is dimensionless, so a GB would
# equal 8e9 without a unit, and a token does not exist.
UNITS = """
k- = 1e3; K- = 1e3; M- = 1e6; G- = 1e9; T- = 1e12; P- = 1e15; E- = 1e18; Z- = 1e21
m- = 1e-3; u- = 1e-6; µ- = 1e-6; μ- = 1e-6; n- = 1e-9; p- = 1e-12
Ki- = 1024; Mi- = 1024**2; Gi- = 1024**3; Ti- = 1024**4; Pi- = 1024**5
bit = [information]; nat = 1.4426950408889634 * bit; byte = 8 * bit = B = bytes
s = [time] = second; min = 60 * s = minute; h = 3600 * s = hour; day = 24 * h; year = 365 * day; Hz = 1 / s
FLOP = [arithmetic] = _ = FLOPs; token = [token] = _ = tokens; step = [step] = _ = steps; sample = [sample] = _ = samples
request = [request] = _ = requests; param = [parameter] = _ = params; GPU = [device] = _ = GPUs; USD = [money]; image = [image] = _ = images
J = [energy]; W = J / s; Wh = 3600 * J; m = [length]; K = [temperature]; V = [voltage]
gCO2 = [carbon]; rad = [angle]; deg = 0.017453292519943295 * rad
"""

SIGN = r'[-−–+]?'
NUMBER = re.compile(
    rf"""(?P<sign>{SIGN})\s*
    (?: 10\s*\^\s*\{{?(?P<bare>{SIGN}\d+)\}}?
      | (?P<mantissa>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)
        (?: [eE](?P<e>{SIGN}\d+) | \s*[×xX*·]\s*10\s*\^\s*\{{?(?P<power>{SIGN}\d+)\}}? )?
        (?: \s*/\s*(?P<denominator>\d+)(?![\d.]) )?
        (?P<percent>\s*[%％])? )""",
    re.VERBOSE,
)


class AnswerError(ValueError):
    """An answer that cannot be read; the message is for the author."""


@cache
def registry() -> pint.UnitRegistry:
    units = pint.UnitRegistry(None)
    for definition in re.split(r'[;\n]', UNITS.strip()):
        units.define(definition.strip())
    return units


@cache
def unit(text: str) -> pint.Unit:
    """The pint unit of ``GiB``, ``token/s``, ``GPU·h``…; empty text is dimensionless, ``%`` a hundredth handled by the caller."""
    try:
        return registry().Unit(text.replace('·', '*').replace(' ', '*') or 'dimensionless')
    except Exception as error:          # pint raises half a dozen kinds, tokenizer errors among them
        raise AnswerError(
            f'不认识的单位“{text}”。可用 byte（B）、bit、nat、FLOP、token、s、min、h、day、Hz、step、sample、request、param、GPU、USD、J、W、Wh …，'
            '前缀 k M G T P 与 Ki Mi Gi Ti，以及它们的乘积与商，如 GiB、TFLOP/s、nat/token、GPU·h；不是单位的字请写在正文里',
        ) from error


def convert(value: float, given: str, declared: str) -> float:
    """``value`` in unit ``given`` expressed in unit ``declared``."""
    if given.strip() in ('%', '％'):
        value, given = value / 100, ''
    try:
        return value * (1 * unit(given)).to(unit(declared)).magnitude
    except pint.DimensionalityError as error:
        raise AnswerError(f'单位“{given or "无量纲"}”不能换算成声明的“{declared or "无量纲"}”') from error


@dataclass(frozen=True)
class Number:
    """A number as written: its exact value and half a unit of its last digit (zero for integers and fractions)."""

    value: Fraction
    half: Fraction
    text: str

    @classmethod
    def match(cls, text: str, at: int = 0) -> tuple[Number, int] | None:
        """The number that starts at ``at`` and where it ends."""
        found = NUMBER.match(text, at)
        if not found:
            return None

        def integer(name: str) -> int:
            return int((found[name] or '0').replace('−', '-').replace('–', '-'))

        mantissa = (found['mantissa'] or '1').replace(',', '')
        scale = Fraction(10) ** (integer('e') + integer('power') + integer('bare'))
        if found['percent']:
            scale /= 100
        if found['denominator']:
            if not int(found['denominator']) or '.' in mantissa:
                raise AnswerError(f'“{found[0].strip()}”不是分数：分子分母写成整数，分母不为 0')
            scale /= int(found['denominator'])
        decimals = len(mantissa.partition('.')[2])
        value = Fraction(Decimal(mantissa)) * scale * (-1 if found['sign'] in ('-', '−', '–') else 1)
        half = Fraction(1, 2 * 10**decimals) * scale if decimals else Fraction(0)
        return cls(value, half, found[0].strip()), found.end()

    def bounds(self, tolerance: Fraction | None = None, relative: bool = False) -> tuple[float, float]:
        """The interval of values that count as equal, float noise included."""
        half = self.half if tolerance is None else abs(self.value) * tolerance if relative else tolerance
        noise = abs(float(self.value)) * NOISE or ZERO
        if self.value.denominator == 1:
            noise = min(noise, 0.25)  # however large, an integer is not its neighbour
        return float(self.value - half) - noise, float(self.value + half) + noise


@dataclass(frozen=True)
class Answer:
    """One part of a declared answer."""

    part: str
    text: str
    numbers: tuple[Number, ...]
    group: bool
    unit: str
    tolerance: Fraction | None
    relative: bool

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(float(number.value) for number in self.numbers)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Accepted interval of each number, in the declared unit."""
        return tuple(number.bounds(self.tolerance, self.relative) for number in self.numbers)

    def check(self, value: object) -> str | None:
        """Nothing when ``value`` agrees with the answer, else a message with both."""
        try:
            given = flatten(value, self.unit)
        except AnswerError as error:
            return f'声明“{self.text}”，{error}'
        if len(given) != len(self.numbers):
            return f'声明“{self.text}”有 {len(self.numbers)} 个数，核验得到 {len(given)} 个：{show(given)}'
        if all(low <= one <= high for one, (low, high) in zip(given, self.bounds, strict=True)):
            return None
        return f'声明“{self.text}”，核验得到 {show(given)}{" " + self.unit if self.unit else ""}'


def show(values: list[float]) -> str:
    shown = [f'{value:.10g}' for value in values]
    return shown[0] if len(shown) == 1 else f'({", ".join(shown)})'


def flatten(value: object, declared: str) -> list[float]:
    """Numbers of a check's result in the declared unit: scalars, tensors, arrays, sequences, and ``(value, 'unit')``."""
    given = declared
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        value, given = value
    result = [convert(one, given, declared) if given != declared else one for one in leaves(value)]
    if not result:
        raise AnswerError('核验没有返回数')
    return result


def leaves(value: object) -> list[float]:
    if hasattr(value, 'tolist'):                # torch and numpy, scalars and arrays, without importing either
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [leaf for one in value for leaf in leaves(one)]
    # sympy's numbers are no ``numbers.Number`` but convert; strings convert too, and must not.
    is_complex = isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real)
    if is_complex or value is None or isinstance(value, (bool, str, bytes)):
        raise AnswerError(f'核验返回的 {value!r} 不是实数')
    try:
        return [float(value)]
    except (TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f'核验返回的 {value!r} 不是实数') from error


def parse(text: str) -> dict[str, Answer]:
    """Read the text of ``:answer:``."""
    answers: dict[str, Answer] = {}
    pieces = [piece.strip() for piece in re.split('[;；]', text) if piece.strip()]
    if not pieces:
        raise AnswerError('答案是空的：写成“部分 = 数值 单位 ± 容差”，或去掉 :answer:')
    for piece in pieces:
        part, equals, rest = piece.partition('=')
        part, rest = (part.strip(), rest.strip()) if equals else ('', piece)
        if equals and not part:
            raise AnswerError(f'“{piece}”的等号前没有部分名')
        if not part and len(pieces) > 1:
            raise AnswerError(f'有多个部分时每个都要有名字：“{piece}”写成“部分 = {piece}”')
        if part in answers:
            raise AnswerError(f'部分“{part}”写了两次')
        answers[part] = parse_part(part, rest)
    return answers


def parse_part(part: str, text: str) -> Answer:
    body, sign, tolerance_text = (piece.strip() for piece in text.partition('±'))
    tolerance, relative = None, False
    if sign:
        found = Number.match(tolerance_text)
        if not found or found[1] != len(tolerance_text) or found[0].value <= 0:
            raise AnswerError(f'“{text}”的容差读不懂：± 后写正数或百分数，单位写在 ± 之前，如 8.0 GiB ± 1%')
        tolerance, relative = found[0].value, tolerance_text.endswith(('%', '％'))
    group = body.startswith(('(', '（'))
    values: list[Number] = []
    if group:
        inner = re.match(r'[(（](.*?)[)）]', body)
        if not inner:
            raise AnswerError(f'“{text}”的括号没有闭合')
        for item in re.split('[,，、]', inner[1]):
            found = Number.match(item.strip())
            if not found or found[1] != len(item.strip()):
                raise AnswerError(f'“{item.strip()}”不是数：组里写 (0.2, 0.3, 0.5) 这样的数，千分位逗号不能用在组里')
            values.append(found[0])
        end = inner.end()
    else:
        found = Number.match(body)
        if not found:
            raise AnswerError(f'“{text}”不以数值开头：写成 64、8.0、1.2e12、3.4×10^12、12.5%、3/8 或 (0.2, 0.8)；不是数的答案不写 :answer:')
        values, end = [found[0]], found[1]
    unit_text = body[end:].strip()
    unit(unit_text)
    if relative and not all(number.value for number in values):
        raise AnswerError(f'“{text}”：0 没有相对容差，写绝对容差，如 0 ± 0.01')
    if not all(math.isfinite(float(number.value)) for number in values):
        raise AnswerError(f'“{text}”太大')
    return Answer(part, text, tuple(values), group, unit_text, tolerance, relative)
