"""An edition leaves out what it must, everywhere, and changes no number."""

from __future__ import annotations

import re

import pytest

SECRET = '六十四正是秘密答案'
CLUE = '先看一个分量的线索'

FILES = {
    'index.md': '# 小书\n\n:::{toctree}\n:numbered: 2\n\none\n:::\n\n:::{toctree}\n\nnotes\n:::\n',
    'one.md': '# 甲章\n\n:::{toctree}\na\nb\n:::\n',
    'a.md': f"""
        # 甲节

        $$x=1$$ (eq-before)

        :::{{exercise}} 方差
        :label: ex-a
        :kind: compute

        由 {{eq}}`eq-before` 求方差。

        :::{{hint}}
        {CLUE}。
        :::
        :::

        :::{{solution}} ex-a
        :answer: 64

        {SECRET}：

        $$y=64$$ (eq-inside)

        见 {{ref}}`prop-b` 与 {{eq}}`eq-before`。
        :::

        $$z=2$$ (eq-after)

        解答里的 {{eq}}`eq-inside`，解答见 {{ref}}`sol-a`。
        """,
    'b.md': """
        # 乙节

        :::{proposition} 乙
        :label: prop-b
        见 {eq}`eq-inside` 与 {eq}`eq-after`。
        :::

        :::{exercise} 乙题
        :label: ex-b
        题面。
        :::

        :::{solution} ex-b
        略。
        :::
        """,
    'notes.md': '# 附\n\n附文。\n',
}


def everything(folder) -> str:
    return '\n'.join(path.read_text(encoding='utf-8', errors='replace') for path in sorted(folder.rglob('*')) if path.is_file())


@pytest.mark.parametrize('builder', ['html', 'latex', 'epub', 'text'])
def test_student_edition_has_no_answer_anywhere(project, builder):
    extensions = ['blocks', 'search_zh', 'editions']
    full = project(extensions, FILES).build(builder)
    assert SECRET in everything(full.outdir) and CLUE in everything(full.outdir)
    student = project(extensions, FILES).build(builder, edition='student', html_copy_source=False, version='1')
    assert student.warnings == ''
    text = everything(student.outdir)
    for secret in (SECRET, CLUE, 'y=64'):
        assert secret not in text
    assert '方差' in text


NOTE, KEPT, BOTH = '秘密脚注的文字', '正文脚注的文字', '两处共用的脚注'
NOTES = {
    **FILES,
    'a.md': FILES['a.md'].replace(f'{SECRET}：', f'{SECRET}。[^secret]又[^both]：').replace(f'{CLUE}。', f'{CLUE}。[^secret]').replace('求方差。', '求方差。[^kept]')
        + f'\n        正文。[^both]\n\n        [^secret]: {NOTE}。\n\n        [^kept]: {KEPT}。\n\n        [^both]: {BOTH}。\n',
    'b.md': FILES['b.md'].replace('略。', '略。[^secret]') + f'\n        [^secret]: {NOTE}。\n',
}


@pytest.mark.parametrize('builder', ['html', 'latex', 'epub', 'text'])
def test_footnotes_go_with_what_they_belong_to(project, builder):
    student = project(['blocks', 'search_zh', 'editions'], NOTES).build(builder, edition='student', html_copy_source=False, version='1')
    assert student.warnings == ''
    text = everything(student.outdir)
    assert NOTE not in text
    assert KEPT in text and BOTH in text
    if builder == 'html':
        page = student.read('a.html')
        assert not set(re.findall(r'href="#([^"]+)"', page)) - set(re.findall(r'id="([^"]+)"', page))
        assert 'footnotes' not in student.read('b.html'), '没有脚注，也就没有脚注的线'


def test_footnotes_stay_in_the_full_book_and_the_answer_book(project):
    for edition in ('full', 'answers'):
        made = project(['blocks', 'editions'], NOTES).build('latex', edition=edition)
        assert made.warnings == ''
        tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
        for text in (NOTE, KEPT, BOTH):
            assert text in tex, edition


def test_numbers_stay_and_links_to_what_is_gone_are_text(project):
    made = project(['blocks', 'editions'], FILES).build('html', edition='student')
    page = made.read('a.html')
    assert '(1.1.3)' in page                            # eq-after, though eq-inside is gone
    assert not set(re.findall(r'href="#([^"]+)"', page)) - set(re.findall(r'id="([^"]+)"', page))
    assert 'a.html#' + 'equation-eq-inside' not in made.read('b.html') and '(1.1.2)' in made.read('b.html')
    assert '参见' not in page


def test_answer_book_has_statements_and_solutions_alone(project):
    made = project(['blocks', 'editions'], FILES).build('latex', edition='answers')
    assert made.warnings == ''
    tex = next(made.outdir.glob('*-answers.tex')).read_text(encoding='utf-8')
    body = tex[tex.index(r'\begin{document}'):]
    for kept in (SECRET, CLUE, '求方差', r'\tag{1.1.2}', '题面', r'\chapter{甲章}', r'\section{乙节}'):
        assert kept in body
    for gone in ('附文', 'z=2', 'x=1'):
        assert gone not in body
    # Every link leads somewhere; where it would not, the number stands as text.
    labels = set(re.findall(r'\\label\{\\detokenize\{([^}]+)\}\}', body))
    assert set(re.findall(r'\\hyperref\[\\detokenize\{([^}]+)\}\]', body)) <= labels
    assert '见命题1.1.1' in re.sub(r'\s|\\DUrole\{[\w-]+\}|[{}]|\\sphinxAtStartPar', '', body) or '命题 1.2.1' in body
    assert '(1.1.1)' in body
