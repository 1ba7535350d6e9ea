"""What a field of the form says: its label, the precision asked for, and the units a reader may use instead of the declared one."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache

from answers import Answer, AnswerError, Number, convert

from .sealed import seal, significant

# Units readers are likely to write for one another; what they are worth is asked of ``answers``.
SIBLINGS = (
    'bit nat kbit Mbit Gbit byte B bytes kB MB GB TB PB KiB MiB GiB TiB PiB',
    's second ms us μs ns min h day year',
    'FLOP FLOPs kFLOP MFLOP GFLOP TFLOP PFLOP EFLOP ZFLOP',
    'token tokens ktoken Mtoken Gtoken Ttoken',
    'param params kparam Mparam Gparam',
    'J kJ MJ Wh kWh MWh GWh',
    'W kW MW',
    'rad deg',
    'Hz kHz MHz GHz',
    'USD kUSD MUSD',
    'gCO2 kgCO2 MgCO2',
    'step steps', 'sample samples', 'request requests', 'GPU GPUs', 'image images',
)
CHINESE = {'比特': 'bit', '字节': 'byte', '秒': 's', '毫秒': 'ms', '微秒': 'μs', '分': 'min', '小时': 'h', '天': 'day', '年': 'year', '弧度': 'rad', '度': 'deg'}
ATOM = re.compile(r'[^\W\d_]+\d?')


@cache
def units(declared: str) -> list[tuple[str, dict[str, float]]]:
    """For each factor of a unit its operator and the worth of what may stand in its place: GiB/s -> ('', {'GiB': 1, 'MiB': …}), ('/', {'s': 1, …})."""
    pieces = re.split(r'\s*([/·*])\s*|\s+', declared)
    atoms, operators = pieces[::2], ['', *(operator or '·' for operator in pieces[1::2])]
    if not all(ATOM.fullmatch(atom) for atom in atoms):
        return [('', {declared: 1.0})]
    return [(operator.replace('*', '·'), siblings(atom)) for operator, atom in zip(operators, atoms, strict=True)]


def siblings(atom: str) -> dict[str, float]:
    names = next((group.split() for group in SIBLINGS if atom in group.split()), [])
    worth = {atom: 1.0}
    for name in [*names, *(word for word, unit in CHINESE.items() if unit in names)]:
        try:
            worth.setdefault(name, convert(1.0, CHINESE.get(name, name), atom))
        except AnswerError:         # Wh beside a J is one energy, a year beside an hour one time; nothing else belongs here
            continue
    return worth


def precision(answer: Answer) -> str:
    """How near is near enough, in words."""
    if answer.relative:
        return f'相对误差 {plain(100 * answer.tolerance)}% 以内'
    if answer.tolerance is not None:
        return f'误差 {plain(answer.tolerance)}{" " * bool(answer.unit)}{answer.unit} 以内'
    written = [number for number in answer.numbers if number.half]
    return max((digits(number) for number in written), key=len) if written else '精确值'


def digits(number: Number) -> str:
    return f'{significant(number)} 位有效数字' if number.value else f'误差 {plain(number.half)} 以内'


def plain(value: Fraction) -> str:
    return f'{float(value):.12g}'.replace('e-0', 'e-')


def field(answer: Answer, salt: str) -> dict[str, object]:
    """One field as the page gets it. No number of the answer is in it."""
    part, count, asked = answer.part, len(answer.numbers), precision(answer)
    result: dict[str, object] = {
        'part': part,
        'label': f'({part})' if len(part) == 1 else part or '答案',
        'asks': f'{count} 个数，用逗号分开，都要{" " * asked[0].isdigit()}{asked}' if count > 1 else asked,
        'numbers': seal(answer, salt),
    }
    if answer.unit:
        result['unit'] = answer.unit
        result['units'] = units(answer.unit)
    elif any(number.text.endswith(('%', '％')) for number in answer.numbers):
        result['unit'] = '%'
    return result
