"""Which number a block has, and what a reference to it reads."""

from __future__ import annotations

import re


def text_of(html: str) -> str:
    return re.sub(r'\s+', ' ', re.sub(r'<[^>]+>', '', html))


def domain(made):
    return made.app.env.domains['block']


def test_exercises_by_section_theorems_on_one_counter(small_book):
    numbers = domain(small_book().build()).number
    assert [numbers(label) for label in ('ex-a-scale', 'ex-a-second', 'ex-b-first', 'ex-two-first')] == ['1.1.1', '1.1.2', '1.2.1', '2.1.1']
    assert [numbers(label) for label in ('def-a-attn', 'thm-a-var', 'lem-b-aux', 'thm-b-main', 'eg-b-one', 'alg-b-one')] == [
        '1.1.1', '1.1.2', '1.2.1', '1.2.2', '1.2.3', '1.2.4']


def test_exercise_of_a_chapter_page_cannot_be_taken_for_a_section(small_book):
    made = small_book().build()
    assert domain(made).caption(domain(made).find('ex-one-all')) == '综合练习 1.1'
    # Its heading would count as section 1.3; a section added before it must not renumber the exercise.
    assert domain(made).number('ex-one-all') == '1.1'


def test_depth_and_counters_are_configurable(small_book):
    made = small_book(blocks_secnum_depth=1, blocks_counters={'example': 'example', 'proof': ''}).build()
    number = domain(made).number
    assert [number(label) for label in ('ex-a-scale', 'ex-a-second', 'ex-b-first', 'ex-one-all', 'ex-two-first')] == ['1.1', '1.2', '1.3', '1.4', '2.1']
    assert number('eg-b-one') == '1.1'
    assert number('alg-b-one') == '1.5'


def test_sections_without_number_and_pages_outside_the_book(page, project):
    made = page('# 前言\n\n:::{remark}\n:label: rem-x\n注\n:::\n\n{ref}`rem-x`\n')
    assert domain(made).number('rem-x') == '1'
    made = project(['blocks'], {'index.md': '# 书\n\n{ref}`thm-y`', 'y.md': '---\norphan: true\n---\n# 外\n\n:::{theorem}\n:label: thm-y\n:::\n'}).build()
    assert domain(made).number('thm-y') == '1'


def test_references_read_number_in_every_syntax(small_book):
    html = text_of(small_book().build().read('chapter1/b.html'))
    assert '由 练习 1.1.1、练习 1.1.1、题目、练习 1.1.1 的解答、定义 1.1.1 与 定理。' in html


def test_reference_links_to_the_anchor_inside(small_book):
    html = small_book().build().read('chapter1/b.html')
    assert re.search(r'href="a\.html#sol-a-scale"[^>]*><span[^>]*>练习 1\.1\.1 的解答', html)
    assert re.search(r'href="a\.html#ex-a-scale"[^>]*><span[^>]*><strong>题目</strong>', html)


def test_mathematics_of_a_title_survives_in_references(small_book):
    """sphinx-exercise shows raw TeX where a reference quotes a title."""
    html = small_book().build().read('chapter1/a.html')
    assert re.search(r'第 1\.1\.1 题“求 <span class="math[^>]*>\\\(\\sqrt\{d_k\}\\\)</span> 的来历”', html)
    tex = next(small_book().build('latex').outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert '第 1.1.1 题“求 \\(\\sqrt{d_k}\\) 的来历”' in tex


def test_block_without_number_is_called_by_its_title(page):
    made = page('''
        :::{exercise} 热身 $x^2$
        :label: ex-warm
        :nonumber:
        甲
        :::

        :::{solution} ex-warm
        解
        :::

        见 {ref}`ex-warm`、{ref}`sol-warm`、[](#ex-warm)。
        ''')
    html = text_of(made.read('index.html'))
    assert made.warnings == ''
    assert '见 热身 \\(x^2\\)、练习“热身 x^2”的解答、热身 \\(x^2\\)。' in html


def test_labels_ignore_case_and_may_be_chinese(page):
    made = page('''
        :::{exercise}
        :label: Ex-缩放
        甲
        :::

        :::{solution} ex-缩放
        解
        :::

        见 {ref}`EX-缩放`、[](#Ex-缩放)、{ref}`sol-缩放`。
        ''')
    assert made.warnings == ''
    assert '见 练习 1、练习 1、练习 1 的解答。' in text_of(made.read('index.html'))


def test_unknown_label_is_reported_as_any_other(page):
    made = page('见 {ref}`ex-nowhere` 与 [](#ex-nowhere)。')
    assert made.warning('index.md:1: WARNING: undefined label: .ex-nowhere.')
    assert made.warning("cross-reference target not found: 'ex-nowhere'")


def test_hints_are_counted_and_say_whose_they_are(small_book):
    html = small_book().build().read('chapter1/a.html')
    assert re.search(r'<summary class="block-title"><span class="block-caption"><span class="block-owner">练习 1\.1\.1 的</span>提示 1</span></summary>', html)
    summaries = [text_of(one) for one in re.findall(r'<summary.*?</summary>', html)]
    assert len(summaries) == len(set(summaries)) == 3


def test_separated_pair_is_linked_both_ways(small_book):
    made = small_book().build()
    assert re.search(r'block-link">参见<a [^>]*href="b\.html#sol-a-second"', made.read('chapter1/a.html'))
    assert re.search(r'block-link">题目见<a [^>]*href="a\.html#ex-a-second"', made.read('chapter1/b.html'))
    assert made.read('chapter1/a.html').count('block-link') == 1       # the pair that stands together needs none


def test_objects_are_in_the_inventory(small_book):
    objects = {(name, kind) for name, _, kind, *_ in domain(small_book().build()).get_objects()}
    assert {('ex-a-scale', 'exercise'), ('sol-a-scale', 'solution'), ('thm-b-main', 'theorem')} <= objects
