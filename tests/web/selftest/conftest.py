"""A small book with exercises, and what the tests do on its pages."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT, Project
from tests.web.selftest.reader import mark

BOOK = {
    'index.md': """
        # 小书

        ::::{grid} 1
        :::{grid-item-card} 第一章
        :link: chapter
        :link-type: doc

        内容
        :::
        ::::

        :::{toctree}
        :numbered: 2

        chapter
        review
        :::
        """,
    'chapter.md': '# 第一章\n\n:::{toctree}\none\ntwo\n:::\n',
    'one.md': """
        # 第一节

        ::::{exercise} 题一
        :label: ex-one
        :kind: compute
        :difficulty: 2

        (a) 求层数；(b) 求显存；(c) 求占比。

        :::{hint}
        先数一层。
        :::

        :::{hint}
        再乘层数。
        :::
        ::::

        :::{solution} ex-one
        :answer: a = 64; b = 8.25 GiB ± 1%; c = 12.5%

        这就是解答。
        :::

        :::{exercise} 题二
        :label: ex-two
        :kind: derive
        :difficulty: 1

        证明。
        :::

        :::{solution} ex-two
        证明如下。
        :::
        """,
    'two.md': """
        # 第二节

        :::{exercise} 题三 $x^2$
        :label: ex-three
        :kind: open
        :difficulty: 3

        想想。
        :::

        :::{solution} ex-three
        :answer: (0.2, 0.3)

        想过。
        :::
        """,
    'review.md': '# 练习与复习\n\n:::{exercise-review}\n:::\n\n:::{exercise-list}\n:::\n',
}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    project = Project(
        tmp_path_factory.mktemp('selftest'), ['sphinx_design', 'mathml', 'blocks', 'selftest', 'search_zh', 'page'], html_theme='sphinx_book_theme',
        html_context={'default_mode': 'auto'}, html_static_path=[str(ROOT / '_static')], html_css_files=['icons.css', 'book.css', 'print.css'],
        html_math_renderer='mathml', templates_path=[str(ROOT / '_templates')], selftest_review='review', html_favicon=str(ROOT / '_static/favicon.svg'),
        html_secnumber_suffix=' ', html_theme_options={'use_download_button': False, 'use_fullscreen_button': False},
    )
    return project.write(BOOK).build()


@pytest.fixture(scope='module')
def url(made, serve) -> str:
    return serve(made.outdir)


@pytest.fixture
def one(url, visit):
    return visit(f'{url}/one.html')


@pytest.fixture
def review(one, url):
    """The page of all exercises, for a reader who has done the first and wants to try the second again."""
    page = one.page
    mark(page, '已完成').click()
    mark(page, '再练', 'ex-two').click()
    page.goto(f'{url}/review.html')
    page.locator('.selftest-filters').wait_for()
    return page
