"""Marks, their pages, the report and the warnings of the checks extension."""

from __future__ import annotations

import re

import pytest
from checks.scan import scan

CHECK = '''
from checks import checks


LIMIT = 3


@checks('ex-a', 'eq-a')
def area():
    return 12


@checks('thm-a')
def theorem():
    assert LIMIT == 3


@checks('tab-a', 'fig-a')
def table():
    return {'甲': {'乙': 1}}
'''

PAGE = '''
    # 第一节

    ```{figure} a.png
    :name: fig-a
    :alt: 图

    说明。
    ```

    $$ x = 1 $$ (eq-a)

    $$ y = 1 $$ (eq-b)

    :::{theorem} 题名
    :label: thm-a

    陈述。
    :::

    :::{exercise} 面积
    :label: ex-a
    :kind: compute
    :difficulty: 1

    问。
    :::

    :::{solution} ex-a
    :answer: 12

    答。
    :::

    ```{table} 表名
    :name: tab-a

    | 行 | 乙 |
    |---|---|
    | 甲 | 1 |
    ```
'''

PNG = bytes.fromhex(
    '89504e470d0a1a0a0000000d4948445200000001000000010806000000'
    '1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082'
)


def book(project, check=CHECK):
    made = project(
        ['mathml', 'checks'],
        {
            'index.md': '# 书\n\n```{toctree}\n:numbered:\none\nreport\n```\n', 'one.md': PAGE,
            'report.md': '# 报告\n\n```{verification-report}\n```\n',
            'checks/chapter1/test_one.py': check,
        },
        html_math_renderer='mathml', version='1', exclude_patterns=['checks'],
    )
    (made.src / 'a.png').write_bytes(PNG)
    made.conf['checks_path'] = str(made.src / 'checks')         # relative to conf.py, which there is none
    return made


@pytest.fixture
def site(project):
    return book(project)


def test_every_kind_is_marked_and_linked(site):
    site.build('html')
    assert not site.warnings
    html = site.read('one.html')
    marks = re.findall(r'<a class="check-mark" href="([^"]+)"', html)
    assert sorted(marks) == sorted([
        '_checks/chapter1/test_one.html#table', '_checks/chapter1/test_one.html#area', '_checks/chapter1/test_one.html#theorem',
        '_checks/chapter1/test_one.html#area', '_checks/chapter1/test_one.html#area', '_checks/chapter1/test_one.html#table',
    ])
    assert len(re.findall('checked-equation', html)) == 1, 'only the equation that a check names'
    summary = re.search(r'<summary.*?</summary>', html, re.DOTALL)[0]
    assert 'check-mark' not in summary, 'no control within a control'
    page = site.read('_checks/chapter1/test_one.html')
    for name, back in (('area', '练习 1.1'), ('theorem', '定理 1.1'), ('table', '表 1.1')):
        section = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)[0]
        assert back in section
        assert 'checks' in section
    assert 'href="../../one.html#ex-a"' in page
    assert 'LIMIT' in re.sub(r'<section id="(area|theorem|table)">.*?</section>', '', page, flags=re.DOTALL)


def test_report_counts_and_links(site):
    site.write({'one.md': PAGE + '\n:::{lemma}\n:label: lem-b\n\n未核验。\n:::\n'.replace('\n', '\n    ')}).build('html')
    report = site.read('report.html')
    row = re.search(r'第一节</a>.*?</tr>', report, re.DOTALL)[0]
    assert re.findall(r'<p>([^<]*)</p>', row) == ['1/1', '—', '1/2', '1/2', '1/1', '1/1']
    assert 'href="_checks/chapter1/test_one.html#theorem"' in report
    assert 'href="one.html#thm-a"' in report


def test_text_marks(site):
    text = site.build('text').read('one.txt')
    assert text.count('[已核验]') == 6
    assert not site.warnings


def test_latex_marks(site):
    site.build('latex')
    tex = next(path for path in site.outdir.glob('*.tex')).read_text(encoding='utf-8')
    tex = re.sub(r'\\bookblocklist.*', '', tex)  # the list of exercises repeats their titles
    assert tex.count('\\bookchecked{}') == 5
    assert tex.count('\\bookcheckedtag') == 1
    assert (site.outdir / 'bookchecks.sty').exists()


def test_epub_mark_leads_to_the_report(site):
    site.build('epub')
    assert not site.warnings
    html = site.read('one.xhtml')
    assert set(re.findall(r'class="check-mark" href="([^"]+)"', html)) == {'report.xhtml'}
    assert not (site.outdir / '_checks').exists()


@pytest.mark.parametrize(('check', 'pattern'), [
    (CHECK.replace("'thm-a'", "'thm-x'"), r'test_one\.py:12.*“thm-x”不是书中.*\[checks\.unknown\]'),
    (CHECK.replace("'ex-a', ", ''), r'one\.md:20.*计算题 ex-a 没有核验程序.*\[checks\.missing\]'),
    (CHECK.replace('assert LIMIT == 3', 'LIMIT'), r'test_one\.py:13.*theorem 既不返回值也不断言.*\[checks\.empty\]'),
    (CHECK.replace("@checks('thm-a')", '@checks(LABEL)'), r'test_one\.py:12.*直接写成字符串.*\[checks\.syntax\]'),
    (CHECK + 'def :', r'test_one\.py:\d+.*不是合法的 Python.*\[checks\.syntax\]'),
])
def test_warnings_name_file_and_line(project, check, pattern):
    site = book(project, check=check).build('html')
    assert site.warning(pattern), site.warnings


@pytest.mark.parametrize('way', [
    'same = torch.testing.assert_close\n\n\n@checks("thm-a")\ndef f():\n    same(1, 1)\n',
    'from torch.testing import assert_close as same\n\n\n@checks("thm-a")\ndef f():\n    same(1, 1)\n',
    'def helper():\n    assert True\n\n\ndef other():\n    helper()\n\n\n@checks("thm-a")\ndef f():\n    other()\n',
    '@checks("thm-a")\ndef f():\n    with pytest.raises(ValueError):\n        pass\n',
])
def test_ways_to_assert(tmp_path, way):
    (tmp_path / 'test_a.py').write_text(way)
    functions, problems = scan(tmp_path)
    assert [function.name for function in functions] == ['f']
    assert not problems


def test_example_with_answer_needs_a_check(site):
    site.write({
        'two.md': '# 二\n\n:::{example} 数\n:label: eg-b\n:answer: 3\n\n三。\n:::\n\n:::{example} 无数\n:label: eg-c\n\n无。\n:::\n',
        'index.md': '# 书\n\n```{toctree}\n:numbered:\none\ntwo\nreport\n```\n',
    })
    site.build('html')
    assert site.warning(r'two\.md:3.*带数值答案的例 eg-b 没有核验程序.*\[checks\.missing\]')
    assert 'eg-c' not in site.warnings


def test_a_changed_check_rewrites_the_pages_it_marks(site):
    site.build('html')
    assert site.read('one.html').count('#theorem"') == 1
    site.write({'checks/chapter1/test_one.py': CHECK.replace('def theorem', 'def renamed')}).build('html')
    assert '#theorem"' not in site.read('one.html')
    assert site.read('one.html').count('#renamed"') == 1
    assert '#renamed"' in site.read('report.html')
    assert 'id="renamed"' in site.read('_checks/chapter1/test_one.html')


def test_removed_check_takes_its_marks_away(site):
    site.build('html')
    (site.src / 'checks/chapter1/test_one.py').unlink()
    site.build('html')
    assert 'check-mark' not in site.read('one.html')
    assert site.warning('ex-a 没有核验程序')


def test_parallel_and_incremental_equal_serial(site):
    pages = {f'p{number}.md': re.sub('-([ab])\\b', rf'-\g<1>{number}', PAGE) for number in range(8)}
    checks = {f'checks/test_p{number}.py': CHECK.replace('-a', f'-a{number}') for number in range(8)}
    index = '# 书\n\n```{toctree}\n:numbered:\none\n' + ''.join(f'p{number}\n' for number in range(8)) + 'report\n```\n'
    site.write({**pages, **checks, 'index.md': index}).build('html', out='serial')
    site.build('html', out='parallel', parallel=2)
    assert not site.warnings
    site.write({'one.md': PAGE.replace(':::{theorem}', ':::{lemma} 新\n    :label: lem-n\n\n    新。\n    :::\n\n    :::{theorem}')})
    site.build('html', out='serial').build('html', out='fresh')
    for name in ('one.html', 'p3.html', 'report.html', '_checks/test_p7.html', '_checks/chapter1/test_one.html'):
        assert (site.out / 'serial' / name).read_bytes() == (site.out / 'fresh' / name).read_bytes(), name
        if name.startswith('p3') or name == '_checks/test_p7.html':
            assert (site.out / 'parallel' / name).read_bytes() == (site.out / 'fresh' / name).read_bytes(), name
