"""Each kind of bad input: its own warning, in Chinese, with file and line, and nothing dropped."""

from __future__ import annotations

import re

import pytest

GOOD = '''
    # 标题

    :::{exercise} 题
    :label: ex-x
    :kind: derive
    :difficulty: 1
    题面
    :::

    :::{solution} ex-x
    :answer: 64
    解答文字
    :::
    '''


def body(text: str) -> str:
    return GOOD + text


CASES = {
    # subtype: (text after the good part, line after it, words of the message, words that must survive)
    'duplicate_label': (':::{theorem} 又一\n    :label: ex-x\n    重复者\n    :::', 1, 'index.md:3', '重复者'),
    'missing_label': (':::{exercise} 无名\n    无标签者\n    :::', 1, ':label: ex-', '无标签者'),
    'unknown_kind': (':::{exercise}\n    :label: ex-y\n    :kind: quiz\n    怪种类\n    :::\n    :::{solution} ex-y\n    :::', 3, 'derive、compute', '怪种类'),
    'unknown_difficulty': (':::{exercise}\n    :label: ex-y\n    :difficulty: 4\n    太难\n    :::\n    :::{solution} ex-y\n    :::', 3, '1、2、3', '太难'),
    'unknown_exercise': (':::{solution} ex-z\n    孤儿\n    :::', 1, 'ex-z', '孤儿'),
    'duplicate_solution': (':::{solution} ex-x\n    第二份\n    :::', 1, 'index.md:10', '第二份'),
    'missing_solution': (':::{exercise}\n    :label: ex-y\n    未解\n    :::', 1, ':::{solution} ex-y', '未解'),
    'heading': (':::{remark}\n    前\n\n    ## 内标题\n\n    后\n    :::', 4, '内标题', '内标题'),
    'answer': (':::{example}\n    :label: eg-y\n    :answer: 6 furlong\n    算例\n    :::', 3, 'furlong', '算例'),
    'stray_hint': (':::{hint}\n    走失的提示\n    :::', 1, '移进', '走失的提示'),
    'unknown_target': (':::{proof} thm-none\n    无主证明\n    :::', 1, 'thm-none', '无主证明'),
    'unknown_scope': (':::{exercise-list}\n    :scope: world\n    :::', 1, 'chapter', '练习 1'),
}


def test_good_input_is_silent(page):
    assert page(body('')).warnings == ''


@pytest.mark.parametrize('subtype', CASES)
def test_bad_input(page, subtype):
    text, line, words, kept = CASES[subtype]
    first = len(GOOD.strip('\n').splitlines())
    made = page(body('\n    ' + text + '\n'))
    found = made.warning(rf'\[blocks\.{subtype}\]')
    assert found, made.warnings
    assert made.warnings.count('WARNING') == 1, made.warnings
    assert f'index.md:{first + line}: WARNING: ' in found[0]
    assert words in found[0]
    assert re.search('[一-鿿]{4}', found[0])
    assert kept in re.sub('<[^>]+>', '', made.read('index.html'))


def test_solution_of_what_is_no_exercise(page):
    made = page('\n:::{theorem}\n:label: thm-x\n:::\n\n:::{solution} thm-x\n文字\n:::\n')
    assert '是定理，不是练习' in made.warning('unknown_exercise')[0]
    assert '文字' in made.read('index.html')


def test_solution_without_argument(page):
    assert page('\n:::{solution}\n文字\n:::\n').warning('没有写明是哪道练习的')


def test_label_of_a_section(page):
    made = page('\n(ex-x)=\n# 节\n\n:::{exercise}\n:label: ex-x\n题\n:::\n\n:::{solution} ex-x\n解\n:::\n')
    assert made.warning(r'index\.md:4: WARNING: .*index\.md.* \[blocks\.duplicate_label\]')


def test_missing_solutions_may_be_allowed(page):
    assert page(body('\n    :::{exercise}\n    :label: ex-y\n    未解\n    :::\n'), blocks_require_solution=False).warnings == ''


def test_warnings_have_types_to_suppress(page):
    assert page(body('\n    :::{solution} ex-z\n    孤儿\n    :::\n'), suppress_warnings=['blocks.unknown_exercise']).warnings == ''


def test_heading_deep_inside_is_reported_once(page):
    made = page('''
        ::::{exercise}
        :label: ex-x

        :::{hint}
        ### 深处
        :::
        ::::

        :::{solution} ex-x
        :::
        ''')
    assert made.warnings.count('[blocks.heading]') == 1
    assert 'index.md:5' in made.warnings


def test_orphan_is_reported_where_it_stands(small_book):
    """sphinx-exercise reports it at ``index`` and stops reading the page."""
    made = small_book({'chapter2.md': '# 第二章\n\n第一行\n\n:::{solution} ex-none\n孤儿\n:::\n\n:::{remark}\n:label: rem-after\n:::\n\n{ref}`rem-after`\n'}).build()
    assert re.search(r'chapter2\.md:5: WARNING: .*\[blocks\.unknown_exercise\]', made.warnings)
    assert '注 2.1' in made.read('chapter2.html')


@pytest.mark.parametrize('parallel', [1, 2, 4])
def test_duplicates_keep_their_content_for_any_number_of_processes(project, parallel):
    """sphinx-exercise drops the later ones, and which are later depends on ``-j``."""
    files = {f'{name}.md': f'# {name}\n\n:::{{exercise}}\n:label: ex-same\n文字{name}\n:::\n\n:::{{solution}} ex-same\n解{name}\n:::\n' for name in 'abcdef'}
    files['index.md'] = '# 书\n\n:::{toctree}\n:numbered:\n' + '\n'.join('abcdef') + '\n:::\n'
    made = project(['blocks'], files, numfig_secnum_depth=1).build(parallel=parallel)
    for position, name in enumerate('abcdef', 1):
        html = made.read(f'{name}.html')
        assert f'文字{name}' in html and f'解{name}' in html and f'练习 {position}.1' in html
    lines = [re.sub(r'^.*/', '', line) for line in made.warnings.splitlines()]
    assert [line[:4] for line in lines if 'duplicate_label' in line] == ['b.md', 'c.md', 'd.md', 'e.md', 'f.md']
    assert all('a.md:' in line for line in lines)
