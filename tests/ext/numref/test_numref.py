"""Numbered references say and point to what Sphinx's own would, without reading the page they point to."""

from __future__ import annotations

import re

import pytest
from sphinx.environment import BuildEnvironment

PLAIN = """
    (sec-a)=
    # 甲

    见 {numref}`fig-far`、{numref}`tab-far`、{numref}`sec-b`、{numref}`fig-here`。

    :::{figure} dot.svg
    :name: fig-here

    近图
    :::
    """
OTHER = """
    # 丙

    见 {numref}`sec-a`、{numref}`sec-deep`、{numref}`图 {number}“{name}” <fig-far>`、{numref}`fig-alone`。
    """
FILES = {
    'index.md': '# 书\n\n```{toctree}\n:numbered: 2\n\na\nb\nc\n```\n',
    'a.md': PLAIN,
    'b.md': """
        (sec-b)=
        # 乙

        (sec-deep)=
        ## 深处

        :::{figure} dot.svg
        :name: fig-far

        远图
        :::

        :::{table} 远表
        :name: tab-far

        | a |
        |---|
        | 1 |
        :::
        """,
    'c.md': OTHER,
    'alone.md': '---\norphan: true\n---\n# 丁\n\n:::{figure} dot.svg\n:name: fig-alone\n\n孤图\n:::\n',
    'dot.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n',
}


def paragraph(built, page):
    return re.search('<p>见.*?</p>', built.read(page), flags=re.DOTALL)[0]


@pytest.fixture
def both(project):
    """One small book, without our extension and with it."""
    return [project(extensions, FILES).build('html') for extensions in ([], ['numref'])]


def test_as_sphinx_has_it(both):
    stock, ours = both
    for built in both:
        assert re.fullmatch(r'.*c\.md:.*Any number is not assigned: fig-alone\n', built.warnings), '孤页上的图没有编号，照旧告警'
    for page in ('a.html', 'c.html'):
        assert paragraph(ours, page) == paragraph(stock, page)
    assert re.sub('<[^>]+>', '', paragraph(ours, 'a.html')) == '见 图 2.1.1、表 2.1.1、节 2、图 1.1。'


def test_the_target_page_is_not_read_again(project, monkeypatch):
    """Only when it is written, and while numbers are given, is a page read: not for each reference to it."""
    real, read = BuildEnvironment.get_doctree, []
    monkeypatch.setattr(BuildEnvironment, 'get_doctree', lambda env, docname: read.append(docname) or real(env, docname))

    def times(extensions):
        read.clear()
        files = {**FILES, 'c.md': PLAIN.replace('sec-a', 'sec-c').replace('fig-here', 'fig-c')}
        assert project(extensions, files).build('html').warnings == ''
        return read.count('b')

    assert times([]) - times(['numref']) == 6, '两页各有三处引用'


def test_a_heading_without_number_is_told(project):
    files = {**FILES, 'index.md': FILES['index.md'].replace('numbered: 2', 'numbered: 1'), 'c.md': '# 丙\n\n见 {numref}`sec-b`。\n\n见 {numref}`sec-deep`。\n'}
    built = project(['numref'], files, numfig_secnum_depth=1).build('html')
    assert built.warning(r'c\.md:5: WARNING: .*sec-deep.*改用 \{ref\}`sec-deep`')
    assert 'sec-b`' not in built.warnings
