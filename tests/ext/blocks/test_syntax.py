"""The author's syntax, and that of sphinx-exercise, which is a part of it."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


def block_of(made, label):
    return made.app.env.domains['block'].find(label)


def test_a_document_for_sphinx_exercise_builds_unchanged(page):
    """From its documentation: backtick fences, ``:class:``, ``:nonumber:``, ``:hidden:``, ``{ref}`` and ``{numref}`` in its forms."""
    made = page('''
        # Exercises

        ```{exercise} $n!$ Factorial
        :label: factorial

        Recall that $n!$ is read as “$n$ factorial” and defined as
        $n! = n \\times (n - 1) \\times \\cdots \\times 2 \\times 1$.
        ```

        ````{solution} factorial
        :class: dropdown
        :label: my-solution

        Here's one solution.

        ```{code-block} python
        def factorial(n): ...
        ```
        ````

        ```{exercise}
        :label: bare
        :class: tip
        :nonumber:

        Unnumbered.
        ```

        ```{solution} bare
        ```

        ```{exercise} Hidden
        :label: unseen
        :hidden:

        Not shown.
        ```

        ```{solution} unseen
        Not shown either.
        ```

        {ref}`factorial`, {ref}`another text <factorial>`, {numref}`factorial`, {numref}`number %s <factorial>`,
        {numref}`{number}: {name} <factorial>`, {ref}`my-solution`.
        ''')
    assert made.warnings == ''
    html = made.read('index.html')
    text = re.sub('<[^>]+>', '', html)
    assert '练习 1, another text, 练习 1, number 1,\n1: \\(n!\\) Factorial, 练习 1 的解答.' in text
    assert 'Not shown' not in text and 'unseen' not in html
    assert '<details class="block block-fold solution dropdown">' in html
    assert 'class="block block-exercise exercise tip"' in html


def test_facts(small_book):
    made = small_book().build()
    fact = block_of(made, 'ex-a-scale')
    assert (fact.docname, fact.kind, fact.exercise_kind, fact.difficulty) == ('chapter1/a', 'exercise', 'compute', '2')
    assert fact.title == (('text', '求 '), ('math', '\\sqrt{d_k}'), ('text', ' 的来历'))
    lines = (made.src / 'chapter1/a.md').read_text(encoding='utf-8').splitlines()
    assert lines[fact.line - 1].startswith('::::{exercise} 求')
    solution = block_of(made, 'sol-a-scale')
    assert (solution.target, solution.answer) == ('ex-a-scale', 'a = 64; b = 8.0 ± 1%')
    assert block_of(made, 'eg-b-one').answer == '3/8'
    assert made.app.env.domains['block'].facts['ex-a-scale'] == fact


def test_block_and_title_are_what_other_extensions_build_on(small_book):
    made = small_book().build()
    for node in made.app.env.get_doctree('chapter1/a').findall(lambda node: node.tagname == 'block'):
        assert node[0].tagname == 'block_title'
        assert node['kind'] and node['docname'] == 'chapter1/a'


class Mark(SphinxPostTransform):
    """What the check marks do: something small after the title of a block."""

    default_priority = 500

    def run(self, **kwargs):
        for node in self.document.findall(lambda node: node.tagname == 'block_title'):
            if node.parent['label'] in ('ex-a-second', 'sol-a-scale'):
                node += nodes.inline('', '核')


def test_writers_show_what_others_append_to_the_title(small_book, monkeypatch):
    monkeypatch.setitem(sys.modules, 'blocks_test_mark', SimpleNamespace(setup=lambda app: app.add_post_transform(Mark)))
    made = small_book({}, 'blocks_test_mark')
    html = made.build().read('chapter1/a.html')
    text = made.build('text').read('chapter1/a.txt')
    tex = next(made.build('latex').outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert re.search(r'练习 1\.1\.2</span> <span class="block-name"><span>核</span></span>', html)
    assert re.search(r'练习 1\.1\.1 的解答</span> <span class="block-name"><span>核</span></span></summary>', html)
    assert '练习 1.1.2（推导，难度 1） 核' in text
    assert '\\bookblocktitle{练习 1.1.2}{核}{推导}{1}' in tex


def test_nesting_and_contents(page):
    made = page('''
        # 题

        :::::{exercise} 嵌套
        :label: ex-nest

        1. 列表里的例：

           ::::{example} 内例
           :label: eg-inner

           $$x = 1$$ (eq-inner)

           | a | b |
           |---|---|
           | 1 | 2 |
           ::::

        ::::{hint} 先看 {eq}`eq-inner`
        :label: hint-nest

        看 {ref}`eg-inner`。[^f]
        ::::
        :::::

        ::::{solution} ex-nest
        :::{lemma} 辅助
        :label: lem-inner
        引理。
        :::
        :::{proof}
        证。
        :::
        ::::

        {ref}`hint-nest`，{ref}`lem-inner`

        [^f]: 脚注。
        ''')
    assert made.warnings == ''
    html = made.read('index.html')
    assert re.sub('<[^>]+>', '', html).count('练习 1 的提示，引理 2') == 1
    assert html.count('<table') == 1 and 'id="equation-eq-inner"' in html and 'footnote-reference' in html


def test_fold_is_native_with_the_anchor_inside(small_book):
    html = small_book().build().read('chapter1/a.html')
    assert re.search(r'<details class="block block-fold solution">\s*<summary[^>]*>.*?</summary>\s*<div class="block-body" id="sol-a-scale">', html)
    assert not re.search(r'<details[^>]* (id|open)=', html)
    summaries = re.findall('<summary.*?</summary>', html)
    assert summaries and not any('<a ' in summary for summary in summaries)     # no control inside a control


def test_exercise_is_a_named_group(small_book):
    html = small_book().build().read('chapter1/a.html')
    assert re.search(r'<div class="block block-exercise exercise" id="ex-a-scale" role="group" aria-labelledby="ex-a-scale-title">', html)
    assert re.search(r'id="ex-a-scale-title">.*?难度 2 <span class="block-pips" aria-hidden="true">●●○</span>', html)


def test_proof_takes_a_label_or_a_title(page):
    made = page('\n:::{theorem}\n:label: thm-x\n:::\n\n:::{proof} thm-x\n甲\n:::\n\n:::{proof} 充分性\n乙\n:::\n')
    text = re.sub('<[^>]+>', '', made.read('index.html'))
    assert made.warnings == ''
    assert '定理 1 的证明' in text and re.search('证明 充分性', text)


def test_sphinx_hint_keeps_its_node(page):
    """Only the directive is ours: the admonition of other directives stays."""
    assert 'admonition note' in page('\n:::{note}\n注\n:::\n').read('index.html')
