"""Numbers as readers write them, compared as the checks compare: the script alone, without a page."""

from __future__ import annotations

import hashlib
import json
import random
import re

import pytest

from answers import parse
from selftest import sealed
from selftest.fields import field
from tests.conftest import ROOT

CHECK = (ROOT / '_static/selftest-check.js').read_text(encoding='utf-8')


@pytest.fixture(scope='module')
def ask(browser):
    """``ask([(text, declared answer), …])`` -> what the script makes of each. Fewer rounds than on a page, for so many numbers."""
    patch = pytest.MonkeyPatch()
    patch.setattr(sealed, 'ROUNDS', 2)
    assert (few := CHECK.replace('ROUNDS = 200', 'ROUNDS = 2')) != CHECK
    page = browser.new_page()
    page.evaluate('window.selftest = {}')
    page.add_script_tag(content=few)

    def run(pairs: list[tuple[str, str]]) -> list[dict]:
        asked = [[text, field(next(iter(parse(declared).values())), 'salt')] for text, declared in pairs]
        return page.evaluate("asked => asked.map(([text, field]) => selftest.check(text, field, 'salt'))", json.loads(json.dumps(asked)))

    run.page = page
    yield run
    page.close()
    patch.undo()


def states(ask, declared: str, *texts: str) -> list[str]:
    return [one['state'] for one in ask([(text, declared) for text in texts])]


def test_digest_is_sha256(ask):
    texts = ['', 'abc', '中文', 'x' * 55, 'x' * 56, 'x' * 64, 'y' * 200]
    found = ask.page.evaluate('texts => texts.map(text => [...selftest.sha256(new TextEncoder().encode(text))])', texts)
    assert [bytes(one) for one in found] == [hashlib.sha256(text.encode()).digest() for text in texts]


@pytest.mark.parametrize(('declared', 'texts'), [
    ('1.2e12', ['1.2e12', '1.2E+12', '1.2×10^12', '1.2 x 10^{12}', '1.2*10^12', '1.2×10¹²', '１．２ｅ１２', '1200000000000', '1,200,000,000,000', '= 1.2e12', '≈1.2×10^12']),
    ('1/3', ['1/3', '１／３', '2/6', '0.3333333333', '33.33333333%', ' 1 / 3 ']),
    ('12.5%', ['12.5%', '12.5', '１２．５％', '1/8', '0.125', '12.5 %']),
    ('0.125', ['0.125', '12.5%', '1/8', '1.25e-1', '.125']),
    ('-87.3', ['-87.3', '−87.3', '－87.3', '–87.3', '-8.73×10^1', '-8.73×10⁺¹']),
    ('1e-5', ['1e-5', '10^-5', '10⁻⁵', '0.00001', '1×10^{-5}']),
    ('(24, 16, 24)', ['24, 16, 24', '(24,16,24)', '（24，16，24）', '24、16、24', '24;16;24']),
    ('768 MiB', ['768', '768 MiB', '768MiB', '0.75 GiB', '805306368 byte', '805306368 字节', '805.306368 MB', '6442450944 bit']),
    ('3.0 TFLOP/s', ['3.0', '3 TFLOP/s', '3000 GFLOP/s', '3e12 FLOP / s', '180 TFLOP/min']),
    ('2.5 GPU·h', ['2.5 GPU·h', '2.5 GPU*h', '2.5 GPU h', '150 GPU·min']),
    ('40', ['40', '40 层', '40.0', '４０']),
])
def test_ways_to_write_an_answer(ask, declared, texts):
    assert dict(zip(texts, states(ask, declared, *texts), strict=True)) == dict.fromkeys(texts, 'right')


@pytest.mark.parametrize(('declared', 'text', 'words'), [
    ('768 MiB', '768 GB/s', '这一问用 MiB'),
    ('768 MiB', '768 mib', '大小写有别'),
    ('768 MiB', '768 s', '不能换算'),
    ('768 MiB', '50%', '不是百分数'),
    ('64', '64 GiB', '没有单位'),
    ('64', '六十四', '读不懂'),
    ('64', '', '读不懂'),
    ('64', '1/0', '读不懂'),
    ('(1, 2)', '1', '要 2 个数'),
    ('(1, 2)', '1, x', '读不懂'),
])
def test_says_what_it_cannot_read(ask, declared, text, words):
    result, = ask([(text, declared)])
    assert result['state'] == 'unread'
    assert words in result['message']


@pytest.mark.parametrize(('declared', 'texts'), [
    ('64', ['65', '-64', '64.001', '6.4', '640', '0']), ('768 MiB', ['768 MB', '0.768 GiB', '767']), ('12.5%', ['1250', '12', '0.0125', '125%']),
    ('(0.2, 0.3)', ['0.3, 0.2', '0.2, 0.4']), ('0', ['1', '1e-9', '-1']), ('1.2e12', ['12000', '1.2', '1.2^12']),
])
def test_what_is_wrong(ask, declared, texts):
    assert 'right' not in states(ask, declared, *texts)


def test_says_which_of_several_numbers_is_wrong(ask):
    assert ask([('0.2, 0.9', '(0.2, 0.3)')])[0]['message'] == '第 2 个数不对'


def test_a_near_miss_is_told(ask):
    result, = ask([('8.29', '8.20 ± 1%')])
    assert result['state'] == 'near'
    assert '相对误差 1% 以内' in result['message']


def declared_answers() -> list[str]:
    """Every part of every answer declared in the book, alone."""
    lines = [line for path in sorted((ROOT / 'source').rglob('*.md')) for line in re.findall(r'^:answer: (.*)$', path.read_text(encoding='utf-8'), re.M)]
    return sorted({answer.text for line in lines for answer in parse(line).values()})


SPECIAL = ['0', '0.0', '0 ± 1e-9', '1.0', '0.1', '9.99', '10.0', '-1.00', '8.0 ± 40%', '8 ± 90%', '1e12 ± 1', '99999999999', '3e-13', '1e-300', '5', '2.5', '0.5 ± 0.5', '-3/7', '1e21', '123456789.123']


def test_the_script_accepts_what_the_checks_accept(ask):
    """Every declared answer of the book: the ends of each interval, numbers inside and numbers just outside, as the checks decide."""
    texts = declared_answers()
    assert len(texts) > 100
    random_ = random.Random(0)
    pairs, wanted = [], []
    for declared in texts + SPECIAL:
        answer = next(iter(parse(declared).values()))
        middle = list(answer.values)
        for index, (low, high) in enumerate(answer.bounds):
            width = high - low
            step = max(width * 1e-6, abs(high) * 1e-15, abs(low) * 1e-15)
            for value in (low, high, middle[index], *(random_.uniform(low, high) for _ in range(3)), low - step, high + step, low - width / 3, high + 2 * width, -high * 3):
                numbers = [*middle[:index], value, *middle[index + 1:]]
                pairs.append((', '.join(map(repr, numbers)) + (f' {answer.unit}' if answer.unit else '%%'[:0]), declared))
                wanted.append(all(a <= one <= b for one, (a, b) in zip(numbers, answer.bounds, strict=True)))
    percent = {declared for declared in texts + SPECIAL if '%' in declared.split('±')[0]}
    # In a field of percents a bare number means percents or a fraction; with its sign it means one thing.
    pairs = [(f'{float(text) * 100!r}%' if declared in percent else text, declared) for text, declared in pairs]
    found = [one['state'] == 'right' for one in ask(pairs)]
    keep = [index for index, (_, declared) in enumerate(pairs) if declared not in percent or index % 11 not in (0, 1)]     # ×100 may move an end by one bit
    assert [(pairs[index], found[index], wanted[index]) for index in keep if found[index] != wanted[index]] == []
    assert any(wanted) and not all(wanted)
