"""The printed book, as `make latexpdf` makes it."""

from __future__ import annotations

import re
import subprocess

import pikepdf
import pytest
from conftest import ROOT
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


@pytest.fixture(scope='module')
def plain(text):
    return re.sub(r'\s+', '', text)


@pytest.fixture(scope='module')
def book(pdf):
    """Label -> page number and sheet, from the file's own destinations."""
    aux = pdf.with_suffix('.aux').read_text(encoding='utf-8')
    with pikepdf.open(pdf) as document:
        first = [page.label for page in document.pages].index('1')
    found = {}
    for label, page in re.findall(r'\\newlabel\{([^{}]+)\}\{\{(?:[^{}]|\{[^{}]*\})*\}\{(\w+)\}', aux):
        if page.isdigit():
            found[label] = page, first + int(page)
    return found


def test_log_is_clean(log):
    whole = re.sub(r'(?<=[^\n]{78})\n', '', log)        # TeX breaks its lines at 79 characters
    assert 'Missing character' not in whole
    assert not re.findall(r'reference .{0,200}? undefined|undefined references|multiply.defined|Label .{0,200}? multiply', whole, flags=re.I)


def test_no_line_sticks_out(log):
    wide = [float(points) for points in re.findall(r'Overfull \\hbox \((\d+\.\d+)pt', log)]
    assert max(wide, default=0) <= 5, f'{len([w for w in wide if w > 5])} 处超宽'


def test_no_caption_is_left_at_the_foot_of_a_page(text):
    last = [lines[-1].strip() for page in text.split('\f') if (lines := [line for line in page.splitlines() if line.strip()])]
    assert not [line for line in last if re.match(r'表 [\d.]+\s', line) and not line.endswith('。')]


def test_lost_glyph_is_fatal(folder):
    assert r'\tracinglostchars=3' in (folder / 'printed.sty').read_text(encoding='utf-8')


def test_references_are_resolved(text):
    assert '??' not in text


def test_numbers_and_references(text):
    """Chapter, section, block, solution, equation, figure and table read as on the web."""
    plain = re.sub(r'\s+', '', text)
    for expected in ('第一章', '练习1.1.1', '练习1.1.1的解答', '定理1.1.', '图1.1.1', '表1.1.1', '(1.1.1)', '综合练习1.1'):
        assert expected in plain


def test_file_fonts_title_and_language(pdf):
    assert subprocess.run(['qpdf', '--check', str(pdf)], capture_output=True).returncode == 0
    fonts = subprocess.run(['pdffonts', str(pdf)], check=True, capture_output=True, text=True).stdout.splitlines()[2:]
    assert fonts
    assert all(re.search(r'\s(yes)\s+(yes|no)\s+(yes|no)\s+\d+\s+\d+$', line) for line in fonts), '有未嵌入的字体'
    with pikepdf.open(pdf) as document:
        assert document.docinfo['/Title'] == '语言模型全面教程'
        assert str(document.Root.Lang) == 'zh-CN'


def test_outline_is_complete(pdf):
    with pikepdf.open(pdf) as document, document.open_outline() as outline:
        titles = {re.sub(r'\s+', '', child.title) for item in outline.root for child in [item, *item.children]}
    for path in (ROOT / 'source').rglob('*.md'):
        heading = re.search(r'^# (.+)$', path.read_text(encoding='utf-8'), flags=re.M)[1]
        if path.stem != 'index':
            assert any(re.sub(r'[\s$]', '', heading) in title for title in titles), f'{path.name} 不在书签里'
    for title in ('练习提示', '练习解答', '索引', '图、表与练习目录'):
        assert title in titles


def test_a_sentence_of_every_page_of_the_source_can_be_copied_out(plain):
    for path in (ROOT / 'source').rglob('*.md'):
        if path.stem != 'index':
            sentences = re.findall(r'^[\u4e00-\u9fff，、]{16,60}(?=。)', path.read_text(encoding='utf-8'), flags=re.M)
            assert not sentences or any(sentence in plain for sentence in sentences), path.name


def test_solutions_are_at_the_back_with_pages_both_ways(plain, book):
    """Each exercise tells where its solution is, each solution where its exercise is, and TeX's own page numbers agree."""
    pages = {label: page for label, (page, _) in book.items()}
    told = 0
    for label, page in pages.items():
        docname, _, name = label.partition(':')
        if name.startswith('sol-') and (exercise := f'{docname}:ex-{name.removeprefix("sol-")}') in pages:
            assert int(page) > int(pages[exercise])
            told += f'解答见第{page}页' in plain and f'练习见第{pages[exercise]}页' in plain
            assert f'解答见第{page}页' in plain and f'练习见第{pages[exercise]}页' in plain, label
    assert told > 10


NUMBERED = re.compile(
    r'<(?:figure|table|div)[^>]* id="((?:fig|tab|equation)-[\w-]+)"(?:(?!<(?:figure|table)[ >]).)*?'
    r'(?:<span class="(?:caption-number|eqno)">\(?(?:图|表)? ?([\d.]+\d)\)?)|'
    r'<p class="block-title" id="([\w-]+)-title"><span class="block-caption">([^<\d]*[\d.]*\d)', re.S)


def numbers(folder, suffix):
    """``chapter1/x:id`` -> number, of everything numbered on the pages below ``folder``."""
    found = {}
    for path in sorted(folder.rglob(f'*{suffix}')):
        for one, number, block, caption in NUMBERED.findall(path.read_text(encoding='utf-8')):
            found[f'{path.relative_to(folder).with_suffix("")}:{one or block}'] = number or caption
    return found


def test_numbers_are_the_same_everywhere(make, folder, text, book):
    """What the web calls 图 1.1.3 is so called in the EPUB, and on its page in the PDF."""
    web, ebook = numbers(make('html'), '.html'), numbers(make('epub'), '.xhtml')
    assert len(web) > 100
    kept = {label: number for label, number in ebook.items() if not re.search(r'-(hint|solution)s:', label)}
    assert {label: web.get(label) for label in kept} == kept
    leaves = [re.sub(r'\s+', '', page) for page in text.split('\f')]
    for label, number in web.items():
        if ':sol-' in label or ':hint-' in label:
            continue
        assert label in book, f'{label} 不在 PDF 里'
        sheet = book[label][1]
        assert number.replace(' ', '') in ''.join(leaves[sheet - 1:sheet + 2]), f'{label} 在网页上是 {number}，PDF 第 {sheet} 页上没有'


def test_sections_have_the_numbers_of_the_web(make, plain):
    seen = 0
    for path in make('html').glob('chapter*/*.html'):
        heading = re.search(r'<h1>(?:<span class="section-number">)([\d.]+)[^<]*</span>([^<]+)<', path.read_text(encoding='utf-8'))
        if heading:
            seen += 1
            assert heading[1] + re.sub(r'\s', '', heading[2]) in plain
    assert seen
