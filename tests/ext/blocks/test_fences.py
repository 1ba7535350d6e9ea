"""Blocks of equally many colons nest, inner ones closing first; what does not match is told."""

from __future__ import annotations

import pytest
from blocks.fences import nest

EQUAL = '''
    :::{exercise} 甲
    :label: ex-a

    题面

    :::{hint}
    提示文字
    :::
    :::

    :::{solution} ex-a
    解之前

    :::{lemma} 内
    :label: lem-x
    引
    :::{proof}
    证
    :::
    :::

    解之后
    :::

    块外
    '''


def shape(made) -> list[tuple[str, ...]]:
    """Each text with the kinds of the blocks around it, outermost first."""
    found = []
    for text in made.app.env.get_doctree('index').findall(lambda node: node.tagname == 'paragraph'):
        around, node = [], text
        while (node := node.parent) is not None:
            if node.tagname in ('block', 'container'):
                around.insert(0, node.get('kind', 'container'))
        found.append((*around, text.astext()))
    return found


def test_equal_colons(page):
    made = page(EQUAL)
    assert made.warnings == ''
    assert shape(made) == [
        ('exercise', '题面'), ('exercise', 'hint', '提示文字'), ('solution', '解之前'), ('solution', 'lemma', '引'), ('solution', 'lemma', 'proof', '证'),
        ('solution', '解之后'), ('块外',),
    ]


def test_longer_outer_fences_stay_as_they_are():
    text = '::::::{exercise}\n::::{hint}\n:::{note}\n:::\n::::\n::::::\n\n```{solution} x\n:::\n```\n'
    assert nest(text) == (text, [])


def test_lines_keep_their_places():
    text, problems = nest(':::{a}\n:::{b}\n:::\n:::\n')
    assert (text, problems) == ('::::{a}\n:::{b}\n:::\n::::\n', [])


def test_in_lists_and_beside_code():
    text = '1. 一\n\n   :::{a}\n   :::{b}\n   :::\n   :::\n\n```text\n:::\n```\n\n~~~\n:::{x}\n```\n~~~\n'
    assert nest(text) == (text.replace('   :::{a}', '   ::::{a}').replace('   :::\n   :::\n', '   :::\n   ::::\n'), [])


@pytest.mark.parametrize(('text', 'problems'), [
    (':::{a}\n:::\n:::\n', [(3, '多余的结束冒号')]),
    (':::{a} 题\n文字\n', [(1, '“{a} 题”没有闭合')]),
    ('::::{a}\n:::{b}\n::::\n', [(2, '“{b}”没有闭合')]),
    (':::{a}\n:::{b}\n:::\n', [(1, '“{a}”没有闭合')]),
])
def test_what_does_not_match(text, problems):
    found = nest(text)[1]
    assert [line for line, _ in found] == [line for line, _ in problems]
    assert all(words in message for (_, message), (_, words) in zip(found, problems, strict=True))


def test_told_with_file_and_line(page):
    made = page('\n# 题\n\n:::{remark}\n文字\n:::\n\n:::\n')
    assert made.warning(r'index\.md:7: WARNING: 多余的结束冒号.*\[blocks\.fence\]')
