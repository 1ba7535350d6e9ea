"""``exercise-list``: scope, kind, difficulty."""

from __future__ import annotations

import re


def items(html: str) -> list[str]:
    """Captions of the links of every list on a page."""
    lists = re.findall(r'<ul class="[^"]*exercise-list.*?</ul>', html, flags=re.DOTALL)
    return [' '.join(re.findall(r'>((?:综合)?练习 [\d.]+)<', one)) for one in lists]


def listing(options: str) -> str:
    return f'# 一览\n\n:::{{exercise-list}}\n{options}\n:::\n'


def test_whole_book_in_reading_order(small_book):
    html = small_book().build().read('lists.html')
    assert items(html) == ['练习 1.1.1 练习 1.1.2 练习 1.2.1 综合练习 1.1 练习 2.1.1', '综合练习 1.1']
    assert '没有符合条件的练习。' in html
    assert re.search(r'href="chapter1/a\.html#ex-a-scale".*?练习 1\.1\.1.*?求 <span class="math.*?的来历.*?（计算 · 难度 2）', html)


def test_filters(small_book):
    def chosen(options):
        return items(small_book({'lists.md': listing(options)}).build().read('lists.html'))

    assert chosen(':kind: compute, derive') == ['练习 1.1.1 练习 1.1.2']
    assert chosen(':difficulty: 1 2') == ['练习 1.1.1 练习 1.1.2 练习 1.2.1 练习 2.1.1']
    assert chosen(':kind: design\n:difficulty: 2') == ['练习 2.1.1']


def test_scope_of_a_chapter_and_of_a_section(small_book):
    made = small_book({
        'chapter2.md': '# 第二章\n\n:::{toctree}\nc\n:::\n', 'c.md': '# 丙\n\n:::{exercise}\n:label: ex-c\n题\n:::\n\n:::{solution} ex-c\n:::\n'
        '\n:::{exercise-list}\n:scope: chapter\n:::\n\n:::{exercise-list}\n:scope: section\n:::\n',
        'chapter1/b.md': '# 乙节\n\n:::{theorem}\n:label: thm-b-main\n:::\n:::{exercise}\n:label: ex-b-first\n:::\n:::{solution} ex-b-first\n:::\n'
        ':::{solution} ex-a-second\n:::\n\n:::{exercise-list}\n:scope: chapter\n:::\n\n:::{exercise-list}\n:scope: section\n:::\n',
    }).build()
    assert made.warnings == ''
    assert items(made.read('chapter1/b.html')) == ['练习 1.1.1 练习 1.1.2 练习 1.2.1 综合练习 1.1', '练习 1.2.1']
    assert items(made.read('c.html')) == ['练习 2.1.1', '练习 2.1.1']


def test_unknown_filter_is_told(page):
    made = page('\n:::{exercise-list}\n:kind: quiz\n:difficulty: 9\n:::\n')
    assert made.warning(r'index\.md:1: .*quiz.*\[blocks\.unknown_kind\]')
    assert made.warning(r'index\.md:1: .*9.*\[blocks\.unknown_difficulty\]')
