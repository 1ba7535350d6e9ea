"""A small book that uses every kind of block, in every place a block may stand."""

from __future__ import annotations

import struct
import zlib

import pytest

BOOK = {
    'index.md': """
        # 小书

        :::{toctree}
        :numbered: 2

        chapter1
        chapter2
        :::

        :::{toctree}
        lists
        :::
        """,
    'chapter1.md': """
        # 第一章

        :::{toctree}
        chapter1/a
        chapter1/b
        :::

        ## 综合题

        :::{exercise} 跨节
        :label: ex-one-all
        :kind: open
        :difficulty: 3

        把 {ref}`ex-a-scale` 与 [](#thm-b-main) 合起来。
        :::

        :::{solution} ex-one-all
        略。
        :::
        """,
    'chapter1/a.md': """
        (sec-a)=
        # 甲节

        :::::{definition} 缩放点积
        :label: def-a-attn

        $$y = \\frac{x}{\\sqrt{d_k}}$$ (eq-a-attn)

        由 {eq}`eq-a-attn` 定义。
        :::::

        :::{theorem} 方差为 $d_k$
        :label: thm-a-var

        设分量独立。
        :::

        :::{proof}
        逐项相加。
        :::

        ## 练习

        ::::{exercise} 求 $\\sqrt{d_k}$ 的来历
        :label: ex-a-scale
        :kind: compute
        :difficulty: 2

        (a) 求方差；(b) 求标准差。[^note]

        | 量 | 值 |
        |---|---|
        | $d_k$ | 64 |

        :::{figure} dot.png
        :name: fig-a-dot
        :alt: 一个点

        一个点。
        :::

        :::{hint}
        先求单项。
        :::

        :::{hint}
        再求和。
        :::
        ::::

        :::{solution} ex-a-scale
        :answer: a = 64; b = 8.0 ± 1%

        - 方差 64
        - 标准差 8，见 {numref}`fig-a-dot`
        :::

        :::{exercise}
        :label: ex-a-second
        :kind: derive
        :difficulty: 1

        答案在下一节。参见 {numref}`ex-b-first`、{numref}`第 {number} 题“{name}” <ex-a-scale>`。
        :::

        [^note]: 脚注。
        """,
    'chapter1/b.md': """
        # 乙节

        :::{lemma}
        :label: lem-b-aux

        引理。
        :::

        :::{theorem} 主定理
        :label: thm-b-main

        结论。
        :::

        :::{proof} thm-a-var
        另证。
        :::

        :::{example} 算例
        :label: eg-b-one
        :answer: 3/8

        算一算。
        :::

        :::{algorithm} 步骤
        :label: alg-b-one

        1. 先。
        2. 后。
        :::

        :::{exercise} 乙一
        :label: ex-b-first
        :kind: critique
        :difficulty: 1

        由 {ref}`ex-a-scale`、[](#ex-a-scale)、[**题目**](#ex-a-scale)、{ref}`sol-a-scale`、[](#def-a-attn) 与 {ref}`定理 <thm-a-var>`。
        :::

        :::{solution} ex-b-first
        解。
        :::

        :::{solution} ex-a-second
        隔节的解答。
        :::
        """,
    'chapter2.md': """
        # 第二章

        ## 只有一页

        :::{exercise} 二章一
        :label: ex-two-first
        :kind: design
        :difficulty: 2

        设计。
        :::

        :::{solution} ex-two-first
        解。
        :::
        """,
    'lists.md': """
        # 练习一览

        :::{exercise-list}
        :::

        ## 难的

        :::{exercise-list}
        :difficulty: 3
        :::

        ## 没有

        :::{exercise-list}
        :kind: design
        :difficulty: 1
        :::
        """,
}


def dot() -> bytes:
    """A PNG of one pixel."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0\0')) + chunk(b'IEND', b'')


@pytest.fixture
def small_book(project):
    """Factory: the book above, with ``changes`` (file -> text, or nothing to leave it out) further extensions and configuration."""
    def make(changes: dict[str, str] | None = None, *extra: str, **conf: object):
        files = {**BOOK, **(changes or {})}
        made = project(['blocks', *extra], {name: text for name, text in files.items() if text}, version='1', **conf)
        (made.src / 'chapter1/dot.png').write_bytes(dot())
        return made

    return make


@pytest.fixture
def page(project):
    """Factory: a book of one page, built to HTML."""
    def make(text: str, builder: str = 'html', **conf: object):
        return project(['blocks'], {'index.md': text}, version='1', **conf).build(builder)

    return make
