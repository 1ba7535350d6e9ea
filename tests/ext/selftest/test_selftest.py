"""What the pages get: fields that can check an answer and do not hold it, digests of statements, and nothing in other formats."""

from __future__ import annotations

import html
import json
import re
import struct

import pytest

from answers import parse
from selftest.fields import field
from selftest.sealed import cells, digest, grid

BOOK = {
    'index.md': """
        # 小书

        :::{toctree}
        :numbered: 2

        one
        two
        review
        :::
        """,
    'one.md': """
        # 第一章

        ::::{exercise} 题一
        :label: ex-one
        :kind: compute
        :difficulty: 2

        求 $x^2$。

        :::{hint}
        平方。
        :::
        ::::

        :::{solution} ex-one
        :answer: a = 64; b = 8.25 GiB ± 1%

        解。
        :::

        :::{exercise} 题二
        :label: ex-two
        :kind: derive
        :difficulty: 1

        证明。
        :::

        :::{solution} ex-two
        证。
        :::
        """,
    'two.md': '# 没有练习\n\n正文。\n',
    'review.md': '# 复习\n\n:::{exercise-review}\n:::\n\n:::{exercise-list}\n:::\n',
}


@pytest.fixture
def book(project):
    def make(changes: dict[str, str] | None = None, **conf: object):
        return project(['selftest'], {**BOOK, **(changes or {})}, version='1', selftest_review='review', **conf)

    return make


def places(text: str) -> dict[str, dict]:
    """Data of the form of each exercise on a page."""
    found = {}
    for tag in re.findall(r'<div class="selftest-form"[^>]*>', text):
        data = dict(re.findall(r'data-([\w-]+)="([^"]*)"', tag))
        found[data['exercise']] = {**data, 'fields': json.loads(html.unescape(data.get('fields', '[]')))}
    return found


def opened(sealed: dict, cell: str, salt: str) -> tuple[float, float] | None:
    """The interval in the box of ``cell``, read as the page reads it."""
    key = digest(f'{salt}|{cell}')
    for box in map(bytes.fromhex, sealed['boxes']):
        if box[:8] == key[:8]:
            return struct.unpack('>dd', bytes(one ^ other for one, other in zip(box[8:], key[8:], strict=False)))
    return None


# -- boxes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('text', ['64', '1/3', '38.4', '9.999', '1.0', '0.1', '-87.3', '0', '0.0', '12.5%', '2.474e12', '0.303 ± 0.01', '8.0 ± 40%', '1e12 ± 1', '0 ± 1e-9', '3e-13'])
def test_every_cell_of_the_interval_has_its_box(text):
    answer = parse(text)['']
    given = field(answer, 'salt')['numbers'][0]
    (low, high), = answer.bounds
    inside = [low + (high - low) * step / 50 for step in range(51)]
    for value in inside:
        cell, = cells(value, value, given['grid'])
        assert opened(given, cell, 'salt||0') == (low, high), value
    assert len(given['boxes']) <= 12


def test_a_box_opens_only_with_its_own_salt_and_cell():
    given = field(parse('38.4')[''], 'salt')['numbers'][0]
    assert opened(given, '3.8e+1', 'salt||0')
    assert opened(given, '3.8e+1', 'other||0') is None
    assert opened(given, '3.7e+1', 'salt||0') is None


@pytest.mark.parametrize(('one', 'other'), [
    ('7', '13338625'), ('1/3', '64'), ('38.4', '-9.17e7'), ('0.0453', '5.13e12'), ('19.6 ± 4%', '3.1e-9 ± 4%'), ('0.303 ± 0.01', '88 ± 0.01'),
    ('82.35%', '11.27%'), ('(0.2, 0.3)', '(0.7, -0.1)'), ('64 GiB', '3 GiB'),
])
def test_fields_of_two_answers_differ_in_their_boxes_alone(one, other):
    def public(text: str) -> dict:
        made = field(parse(text)[''], 'salt')
        return {**made, 'numbers': [number['grid'] for number in made['numbers']]}

    assert public(one) == public(other)


def test_boxes_of_one_answer_differ_between_exercises():
    answer = parse('64')['']
    assert not set(field(answer, 'ex-a:1')['numbers'][0]['boxes']) & set(field(answer, 'ex-b:1')['numbers'][0]['boxes'])


def test_the_grid_is_no_finer_than_the_answer():
    kinds = {text: grid(answer.numbers[0], answer.tolerance, answer.relative) for text in ('40', '38.4', '49700 ± 1%', '5.352 ± 0.02') for answer in [parse(text)['']]}
    assert kinds == {'40': 'd8', '38.4': 'd2', '49700 ± 1%': 'd1', '5.352 ± 0.02': 's0.1'}


@pytest.mark.parametrize(('text', 'words'), [
    ('64', '精确值'), ('1/12', '精确值'), ('38.4', '3 位有效数字'), ('0.0453', '3 位有效数字'), ('8.0', '2 位有效数字'), ('2.474e12 FLOP', '4 位有效数字'),
    ('49700 ± 1%', '相对误差 1% 以内'), ('7157 token ± 1', '误差 1 token 以内'), ('0 ± 1e-9', '误差 1e-9 以内'), ('(0.9598, 0.2176, 0)', '3 个数，用逗号分开，都要 4 位有效数字'),
])
def test_says_how_near_is_near_enough(text, words):
    assert field(parse(text)[''], 'salt')['asks'] == words


def test_units_of_the_same_family():
    (_, memory), = field(parse('768 MiB')[''], 'salt')['units']
    assert memory['GiB'] == 1024
    assert memory['字节'] == pytest.approx(2**-20)
    assert memory['GB'] == pytest.approx(1e9 / 2**20)
    rate = field(parse('3.0 TFLOP/s')[''], 'salt')['units']
    assert [operator for operator, _ in rate] == ['', '/']
    assert rate[0][1]['GFLOP'] == pytest.approx(1e-3)
    assert rate[1][1]['min'] == 60


# -- pages -------------------------------------------------------------------------------------------------------------


def test_places_on_a_page(book):
    made = book().build()
    assert made.warnings == ''
    page = made.read('one.html')
    found = places(page)
    assert list(found) == ['ex-one', 'ex-two']
    assert [(one['label'], one.get('unit')) for one in found['ex-one']['fields']] == [('(a)', None), ('(b)', 'GiB')]
    assert found['ex-two']['fields'] == []
    assert page.count('class="selftest-bar"') == 1
    assert page.index('selftest-bar') < page.index('题一')
    assert 'data-review="review.html"' in page


def test_the_answer_is_not_in_the_places(book):
    made = book().build()
    shown = re.sub(r'"(boxes|units)":\[.*?\]', '', json.dumps(places(made.read('one.html')), ensure_ascii=False))
    assert not re.search(r'\b(64|8\.25|8\.2)\b', shown)


def test_scripts_where_they_are_needed(book):
    made = book().build()
    names = {name: set(re.findall(r'_static/(selftest[\w-]*\.js)', made.read(name))) for name in ('one.html', 'two.html', 'review.html')}
    assert names == {
        'one.html': {'selftest-marks.js', 'selftest-check.js', 'selftest.js'},
        'two.html': {'selftest-marks.js'},
        'review.html': {'selftest-marks.js', 'selftest-review.js'},
    }
    assert all('defer' in tag for tag in re.findall(r'<script[^>]*selftest[^>]*>', made.read('one.html')))


def test_without_forms_marks_remain(book):
    found = places(book().build(selftest_forms=False).read('one.html'))
    assert {name: one['fields'] for name, one in found.items()} == {'ex-one': [], 'ex-two': []}


@pytest.mark.parametrize(('builder', 'name'), [('text', 'one.txt'), ('latex', '小书.tex'), ('epub', 'one.xhtml'), ('man', None), ('gettext', None)])
def test_nothing_in_other_formats(book, builder, name):
    made = book().build(builder)
    assert 'selftest' not in made.warnings
    for path in [made.outdir / name] if name and (made.outdir / name).exists() else made.outdir.rglob('*'):
        if path.is_file() and path.suffix in ('.txt', '.tex', '.xhtml', '.1', '.pot', '.opf'):
            assert 'selftest' not in path.read_text(encoding='utf-8'), path


# -- statements --------------------------------------------------------------------------------------------------------


def statement(made, name: str = 'ex-one') -> str:
    return places(made.read('one.html'))[name]['statement']


def test_a_changed_question_has_another_digest(book):
    made = book().build()
    first, second = statement(made), statement(made, 'ex-two')
    assert first != second
    text = BOOK['one.md']
    for change in (('平方。', '先平方。'), ('        解。', '        详解。'), ('\n        证明。', '\n        证明它。')):
        made.write({'one.md': text.replace(*change)}).build()
        assert statement(made) == first, change
    assert statement(made, 'ex-two') != second
    made.write({'one.md': text.replace('x^2', 'x^3')}).build()
    assert statement(made) != first


def test_data_lists_every_exercise(book):
    made = book().build()
    rows = json.loads(made.read('_static/exercises-data.js').removeprefix('selftest.arrived(').removesuffix(');\n'))
    assert rows == [[['one.html'], [f'ex-one {statement(made)} compute 2', f'ex-two {statement(made, "ex-two")} derive 1']]]


def test_pages_are_counted_with_the_chapters_above(book):
    made = book({'index.md': '# 小书\n\n:::{toctree}\nchapter\nreview\n:::\n', 'chapter.md': '# 章\n\n:::{toctree}\none\ntwo\n:::\n'}).build()
    rows = json.loads(made.read('_static/exercises-data.js').removeprefix('selftest.arrived(').removesuffix(');\n'))
    assert rows[0][0] == ['one.html', 'chapter.html']


def test_parallel_and_serial_builds_agree(book):
    files = {f'more{number}.md': f'# 多{number}\n\n:::{{exercise}}\n:label: ex-more{number}\n:kind: open\n:difficulty: 1\n\n题{number}\n:::\n\n:::{{solution}} ex-more{number}\n:answer: {number}.5\n\n解\n:::\n'
             for number in range(8)}
    files['index.md'] = BOOK['index.md'].replace('two\n', 'two\n' + ''.join(f'        more{number}\n' for number in range(8)))
    made = book(files)
    one, two = (made.build(parallel=count, out=f'html{count}', fresh=True).outdir for count in (1, 2))
    for path in sorted(one.rglob('*.html')):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes(), path
    assert (one / '_static/exercises-data.js').read_bytes() == (two / '_static/exercises-data.js').read_bytes()
