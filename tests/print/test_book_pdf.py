"""The printed book, as `make latexpdf` makes it."""

from __future__ import annotations

import re
import subprocess

import pikepdf
import pytest
from parts import require


@pytest.fixture(scope='module')
def folder(make):
    require('xelatex', 'latexmk', 'fc-list', 'pdftotext', 'pdffonts', 'qpdf')
    return make('latexpdf')


@pytest.fixture(scope='module')
def pdf(folder):
    return folder / 'llm-tutorial.pdf'


@pytest.fixture(scope='module')
def log(folder):
    return (folder / 'llm-tutorial.log').read_text(encoding='utf-8', errors='replace')


@pytest.fixture(scope='module')
def text(pdf):
    return subprocess.run(['pdftotext', '-layout', str(pdf), '-'], check=True, capture_output=True, text=True).stdout


def test_log_is_clean(log):
    assert 'Missing character' not in log
    assert not re.findall(r'Reference `.*?undefined|undefined references|multiply.defined', log)


def test_no_line_sticks_out(log):
    wide = [float(points) for points in re.findall(r'Overfull \\hbox \((\d+\.\d+)pt', log)]
    assert max(wide, default=0) <= 5, f'{len([w for w in wide if w > 5])} 处超宽'


def test_lost_glyph_is_fatal(folder):
    assert r'\tracinglostchars=3' in (folder / 'printed.sty').read_text(encoding='utf-8')


def test_references_are_resolved(text):
    assert '??' not in text


def test_numbers_and_references(text):
    """Chapter, section, block, solution, equation, figure and table read as on the web."""
    plain = re.sub(r'\s+', '', text)
    for expected in ('第一章', '练习1.1.1', '练习1.1.1的解答', '定理1.1.', '图1.1.1', '表1.1.1', '(1.1.1)', '综合练习1.1'):
        assert expected in plain


def test_structure_and_fonts(pdf):
    assert subprocess.run(['qpdf', '--check', str(pdf)], capture_output=True).returncode == 0
    fonts = subprocess.run(['pdffonts', str(pdf)], check=True, capture_output=True, text=True).stdout.splitlines()[2:]
    assert fonts
    assert all(re.search(r'\s(yes)\s+(yes|no)\s+(yes|no)\s+\d+\s+\d+$', line) for line in fonts), '有未嵌入的字体'
    with pikepdf.open(pdf) as document, document.open_outline() as outline:
        titles = [item.title for item in outline.root]
        assert any('Transformer' in title for title in titles)
        assert document.docinfo['/Title'] == '语言模型全面教程'
