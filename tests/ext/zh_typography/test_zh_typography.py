"""Blanks in the output are where Chinese typography wants them, in HTML and in LaTeX."""

from __future__ import annotations

import re

import pytest
from docutils import nodes
from zh_typography import close_up

SOURCE = {
    'index.md': """
        # 题

        (sec-one)=
        ## 缩放因子

        第一行末
        第二行首，
        $x$ 是标量。Latin
        words 与
        Latin，用 `a
        b`。

        见 {ref}`sec-one` 与
        {ref}`sec-one` 的证明；由 {ref}`Eq 1 <sec-one>` 可知。
        """
}


@pytest.fixture(params=['html', 'latex'])
def text(request, project):
    built = project(['zh_typography'], SOURCE).build(request.param)
    assert built.warnings == ''
    if request.param == 'html':
        return re.sub(r'<[^>]+>', '', built.read('index.html'))
    return re.sub(r'\\hyperref\[[^]]*\]|\\DUrole\{[^}]*\}|\\sphinxcode|\\sphinxupquote|[{}]', '', next(built.outdir.glob('*.tex')).read_text(encoding='utf-8'))


def test_line_ends_between_chinese_vanish(text):
    assert '第一行末第二行首，' in text
    assert re.search(r'第二行首，\S', text)


def test_line_ends_beside_latin_stay_blanks(text):
    assert re.search(r'Latin\swords 与\sLatin，用', text)


def test_reference_that_reads_as_chinese_is_closed_up(text):
    plain = re.sub(r'\\sphinxnameref|\\autopageref\S*|\\hyperref', '', text)
    assert re.search(r'见\S*缩放因子', plain)
    assert re.search(r'缩放因子\S*的证明', plain)
    assert re.search(r'由 \S*Eq 1\S* 可知', plain)


@pytest.mark.parametrize(
    ('before', 'after', 'joined'),
    [('用 ', '（Su 等，2021）', '用（Su 等，2021）'), ('Llama ', '（Su）', 'Llama（Su）'), ('（Su）', ' 用', '（Su）用'), ('见 ', '图 1', '见图 1'), ('图 1', ' 中', '图 1 中'), ('由 ', '(1)', '由 (1)')],
)
def test_neighbours(before, after, joined):
    paragraph = nodes.paragraph('', '', nodes.Text(before), nodes.Text(after))
    close_up(*paragraph.children)
    assert paragraph.astext() == joined


def test_formula_keeps_its_punctuation(project):
    built = project(['mathml', 'zh_typography'], {'index.md': '# 题\n\n设 $x+y$，则（$z$）。又 $w$ 为标量。\n'}, html_math_renderer='mathml').build('html')
    html = re.sub(r'<(math|annotation)\b.*?</\1>', '式', built.read('index.html'), flags=re.DOTALL)
    assert '设 <span class="nobr">式，</span>则（<span class="nobr">式）。</span>又 式 为标量' in html
