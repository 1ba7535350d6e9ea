"""Numbered blocks in the PDF: a real XeLaTeX run, read back with ``pdftotext``."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib

import pytest

from tests.parts import require

ROWS = '\n'.join(f'| {n} | {n * n} |' for n in range(1, 61))

BOOK = {
    'index.md': '# 小书\n\n:::{toctree}\n:numbered: 2\n\none\ntwo\n:::\n',
    'one.md': """
        # 第一章

        :::{toctree}
        a
        b
        :::

        ## 综合题

        :::{exercise} 跨节综合
        :label: ex-all
        :kind: design
        :difficulty: 3

        合起来看 {ref}`ex-scale` 与 {ref}`prop-var`。
        :::

        :::{solution} ex-all
        略。
        :::
        """,
    'a.md': """
        # 甲节

        :::{proposition} 方差为 $d_k$
        :label: prop-var

        $$\\sigma^2 = d_k$$ (eq-var)

        见 {eq}`eq-var`。
        :::

        :::{proof}
        逐项相加。[^note]
        :::

        :::::{exercise} 盒子里的一切 100% & a_b
        :label: ex-scale
        :kind: compute
        :difficulty: 2

        :::{figure} dot.png
        :name: fig-dot

        盒子里的图。
        :::

        :::{table} 盒子里的表
        :name: tab-box

        | 量 | 值 |
        |---|---|
        | $d_k$ | 64 |
        :::

        1. 列表
           - 内层

        $$x = 1$$ (eq-inside)

        参看 {numref}`fig-dot`、{numref}`tab-box`、{eq}`eq-inside`、{ref}`sol-far`。

        :::{hint}
        盒中之盒。
        :::
        :::::

        :::{solution} ex-scale
        :answer: 64

        六十行的长表：

        | n | 平方 |
        |---|---|
        ROWS
        :::

        [^note]: 脚注的文字。
        """.replace('ROWS', ROWS.replace('\n', '\n        ')),
    'b.md': """
        # 乙节

        :::{exercise}
        :label: ex-far
        :kind: open
        :difficulty: 1

        隔章的练习。
        :::
        """,
    'two.md': """
        # 第二章

        ## 一节

        :::{solution} ex-far
        解答引用 {numref}`第 {number} 题“{name}” <ex-scale>` 与 [](#prop-var)。
        :::

        :::{theorem} 长
        :label: thm-long

        LONG
        :::
        """.replace('LONG', '这是一段为了换页而写的文字，用来检验盒子能否断开。' * 150),
}


@pytest.fixture(scope='module')
def pdf(tmp_path_factory):
    return typeset(tmp_path_factory)


def typeset(tmp_path_factory, **config):
    """Text of the PDF, the log, and the file."""
    require('latexmk', 'xelatex', 'pdftotext', 'pdfinfo')
    from tests.conftest import Project

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    made = Project(tmp_path_factory.mktemp('blocks'), ['printed', 'blocks'], version='1', **config).write(BOOK)
    (made.src / 'dot.png').write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(b'\0\0')) + chunk(b'IEND', b''))
    made.build('latex')
    assert made.warnings == ''
    tex = next(made.outdir.glob('*.tex'))
    done = subprocess.run(
        ['latexmk', '-xelatex', '-interaction=nonstopmode', '-halt-on-error', tex.name], cwd=made.outdir, capture_output=True, text=True, check=False)
    log = tex.with_suffix('.log').read_text(encoding='utf-8', errors='replace')
    assert done.returncode == 0, log[-3000:]
    text = subprocess.run(['pdftotext', '-layout', tex.with_suffix('.pdf'), '-'], capture_output=True, text=True, check=True).stdout
    return text, log, tex.with_suffix('.pdf')


def squeezed(text: str) -> str:
    return re.sub(r'\s+', '', text)


def test_numbers(pdf):
    text = squeezed(pdf[0])
    for shown in ('命题1.1.1方差为', '练习1.1.1盒子里的一切100%&a_b', '练习1.1.1的解答', '练习1.2.1', '综合练习1.1跨节综合', '练习1.2.1的解答', '定理2.1.1长', '提示'):
        assert shown in text


def test_references(pdf):
    text = squeezed(pdf[0])
    assert '??' not in text
    assert '合起来看练习1.1.1与命题1.1.1' in text
    assert '图1.1' in text and '表1.1' in text
    assert '、练习1.2.1的解答。' in text
    assert '参见练习' not in text and '题目见' not in text, '印刷版用页码代替'
    assert '第1.1.1题“盒子里的一切100%&a_b”与命题1.1.1' in text


def page_of(pdf, label):
    """Page number that TeX noted for a label."""
    aux = pdf[2].with_suffix('.aux').read_text(encoding='utf-8')
    return re.search(r'\\newlabel\{%s\}\{\{.*?\}\{(\w+)\}' % re.escape(label), aux)[1]


def test_solutions_and_hints_are_moved_to_the_back_with_pages_both_ways(pdf):
    text = squeezed(pdf[0])
    back = text.rindex('练习提示')
    assert text.count('盒中之盒。') == 1 and text.index('盒中之盒。') > back
    assert text.index('六十行的长表') > text.index('练习解答', back) > text.index('为了换页而写')
    assert '第2章' not in text[back:], '按练习所在的章归类，不按解答写在哪里'
    assert f'提示见第{page_of(pdf, "a:hint-a-1")}页，解答见第{page_of(pdf, "a:sol-scale")}页' in text
    assert f'练习1.2.1的解答练习见第{page_of(pdf, "b:ex-far")}页' in text
    assert f'练习1.1.1的提示盒子里的一切100%&a_b练习见第{page_of(pdf, "a:ex-scale")}页' in text


def test_kind_and_difficulty(pdf):
    assert '计算难度2' in squeezed(pdf[0]) and '开放难度1' in squeezed(pdf[0])


def test_everything_inside_a_box_is_printed(pdf):
    text = squeezed(pdf[0])
    for kept in ('盒子里的图。', '盒子里的表', '列表', '内层', '盒中之盒。', '脚注的文字。', '603600'):
        assert kept in text


def test_the_log_is_clean(pdf):
    log = pdf[1]
    assert not re.findall(r'^! .*$', log, flags=re.MULTILINE)
    assert not re.findall(r'(?i)undefined references|Reference .* undefined|multiply.defined|Hyper reference .* undefined', log)
    assert not re.findall('Missing character', log)
    assert [width for width in map(float, re.findall(r'Overfull \\hbox \(([\d.]+)pt', log)) if width > 5] == []


def test_a_long_box_breaks_across_pages(pdf):
    pages = [squeezed(page) for page in pdf[0].split('\f')]
    start = next(number for number, page in enumerate(pages) if '定理2.1.1长' in page)
    assert '为了换页而写' in pages[start] and '为了换页而写' in pages[start + 1]


def test_on_b5_the_lines_are_as_long_in_characters(tmp_path_factory, pdf):
    """Page and type grow together, so that what fits on A4 fits on B5."""
    text, log, path = typeset(tmp_path_factory, printed_paper='b5')
    size = re.search(r'Page size:\s+([\d.]+) x ([\d.]+)', subprocess.run(['pdfinfo', path], capture_output=True, text=True, check=True).stdout)
    assert [round(float(one) / 72 * 25.4) for one in size.groups()] == [176, 250]
    assert not re.findall(r'Missing character|^! ', log, flags=re.MULTILINE)
    assert [width for width in map(float, re.findall(r'Overfull \\hbox \(([\d.]+)pt', log)) if width > 5] == []

    def longest(page: str) -> int:
        return max(len(line.strip()) for line in page.splitlines() if '为了换页而写' in line)

    assert abs(longest(text) - longest(pdf[0])) <= 1
