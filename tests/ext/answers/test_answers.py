"""Declared answers: what is read, what counts as equal, what is said."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from answers import AnswerError, parse


def one(text):
    return parse(text)['']


@pytest.mark.parametrize(('text', 'value'), [
    ('64', 64), ('8.0', 8), ('1.2e12', 1.2e12), ('3.4×10^12', 3.4e12), ('3.4 × 10^{-3}', 0.0034),
    ('10^6', 1e6), ('12.5%', 0.125), ('3/8', 0.375),
    ('-0.2', -0.2), ('−0.2', -0.2), ('1,024', 1024), ('2e-3', 0.002), ('.5', 0.5), ('−3/4', -0.75), ('0', 0),
])
def test_numbers(text, value):
    assert one(text).values == pytest.approx((value,), rel=1e-15)
    assert one(text).check(value) is None
    assert one(text).check(value + 1 + abs(value)) is not None


def test_parts_tuples_and_units():
    answers = parse('a = 64；p = (0.2, 0.3，0.5); b = 8.0 GiB ± 1%')
    assert list(answers) == ['a', 'p', 'b']
    assert answers['p'].values == (0.2, 0.3, 0.5)
    assert answers['p'].group
    assert answers['b'].unit == 'GiB'
    assert answers['b'].tolerance == Fraction(1, 100)
    assert answers['b'].relative


@pytest.mark.parametrize(('text', 'equal', 'unequal'), [
    ('64', [64, 64 * (1 + 1e-10)], [64.001, 63, -64]),
    ('3/8', [0.375], [0.376]),
    ('3e12', [3e12], [3.0001e12]),
    ('8.0', [8.04, 7.951], [8.06, 7.9]),
    ('1.20', [1.2049], [1.2051]),
    ('1.2e12', [1.249e12], [1.26e12]),
    ('12.5%', [0.1254], [0.1256, 12.5]),
    ('8.0 ± 1%', [7.93, 8.07], [7.9, 8.1]),
    ('-8.0 ± 1%', [-7.93, -8.07], [-7.9, 8]),
    ('8.0 ± 0.3', [7.71, 8.29], [7.69, 8.31]),
    ('0', [0.0, 1e-15], [1e-6]),
    ('0.00', [0.004], [0.006]),
])
def test_what_counts_as_equal(text, equal, unequal):
    for value in equal:
        assert one(text).check(value) is None, value
    for value in [*unequal, float('nan'), float('inf')]:
        assert one(text).check(value), value


def test_values_of_other_libraries():
    import sympy

    assert one('64').check(torch.tensor(64, dtype=torch.int64)) is None
    assert one('64').check(torch.tensor([64.0], requires_grad=True)) is None
    assert one('0.50').check(torch.tensor(0.5, dtype=torch.bfloat16)) is None
    assert one('(0.2, 0.8)').check(torch.tensor([0.2, 0.8])) is None
    assert one('(0.2, 0.8)').check(np.array([0.2, 0.8], dtype=np.float32)) is None
    assert one('(0.2, 0.8)').check((0.2, 0.8)) is None
    assert one('3/8').check(sympy.Rational(3, 8)) is None
    assert one('3/8').check(Fraction(3, 8)) is None
    assert one('(0.2, 0.8)').check(np.array([0.8, 0.2]))


@pytest.mark.parametrize('value', [True, None, 'ab', 1 + 2j, [], {}, ['1'], '64', b'64'])
def test_what_is_no_number(value):
    assert one('1').check(value)
    assert one('64').check(value)


def test_units_are_converted_and_told_apart():
    answer = one('8.00 GiB')
    assert answer.check(8) is None, 'a plain number is in the declared unit'
    assert answer.check((8 * 2**30, 'byte')) is None
    assert answer.check((8, 'GB')) == '声明“8.00 GiB”，核验得到 7.450580597 GiB'
    assert '不能换算' in answer.check((8, 's'))
    assert '不能换算' in one('8').check((8, 'GiB'))
    assert '不能换算' in one('8 token').check((8, 'byte'))
    assert one('1.5 TFLOP/s').check((1.5e12, 'FLOP/s')) is None
    assert one('0.693 nat').check((1, 'bit')) is None
    assert one('64 KiB').check((np.array(65536), 'byte')) is None
    assert one('12.5%').check((12.5, '%')) is None
    assert one('(1, 2) ms').check((np.array([0.001, 0.002]), 's')) is None
    assert one('2 GPU·h').check((7200, 'GPU·s')) is None
    assert one('3 kWh').check((3000, 'Wh')) is None


def test_message_has_both_values():
    assert one('8.0').check(9.25) == '声明“8.0”，核验得到 9.25'
    assert one('(1, 2)').check([1, 2, 3]) == '声明“(1, 2)”有 2 个数，核验得到 3 个：(1, 2, 3)'


@pytest.mark.parametrize(('text', 'said'), [
    ('', '答案是空的'), ('a = 1; 2', '每个都要有名字'), ('a = 1; a = 2', '写了两次'), ('= 3', '没有部分名'), ('约 3', '不以数值开头'),
    ('3 苹果', '不认识的单位“苹果”'), ('3 FLOPS', '不认识的单位“FLOPS”'), ('0 ± 1%', '没有相对容差'), ('3 ± x', '容差读不懂'), ('3 ± 0', '容差读不懂'),
    ('3 s ± 1 s', '单位写在 ± 之前'), ('(1, 2', '没有闭合'), ('(1, x)', '“x”不是数'), ('1/0', '分母不为 0'), ('1.5/2', '分子分母写成整数'),
    ('1.2.3', '不认识的单位'), ('1 - 2', '不认识的单位'),
])
def test_errors_are_for_the_author(text, said):
    with pytest.raises(AnswerError, match=said):
        parse(text)


def test_large_integers_are_exact():
    answer = parse('8030261248')['']
    assert answer.check(8030261248) is None
    assert answer.check(8030261249) is not None
