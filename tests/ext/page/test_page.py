"""Head and interface of a page in the book's theme."""

from __future__ import annotations

import re
import runpy
from html import unescape
from pathlib import Path

import pytest
from page.strings import CHINESE

ROOT = Path(__file__).resolve().parents[3]
CONF = runpy.run_path(str(ROOT / 'conf.py'))
LOOK = {name: value for name, value in CONF.items() if name.startswith('html_')} | {
    'templates_path': [str(ROOT / '_templates')], 'html_static_path': [str(ROOT / '_static')], 'html_favicon': str(ROOT / '_static/favicon.svg'), 'version': '1',
}
EXTENSIONS = ['mathml', 'sphinx_design', 'sphinx_copybutton', 'search_zh', 'page']
PAGES = {
    'index.md': '# 小书\n\n```{toctree}\n:numbered:\none\ntwo\n```\n',
    'one.md': '# 第一节\n\n设 $d_k=64$，则**方差** a < b，“是”"否"。' + '这一句很长，一直说到一百二十个字以外去。' * 8 + '\n\n## 小节\n\n正文。\n',
    'two.md': '---\nmyst:\n  html_meta:\n    description: 作者写的摘要\n---\n# 第二节\n\n正文。\n',
}


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    from tests.conftest import Project

    return Project(tmp_path_factory.mktemp('page'), EXTENSIONS, **LOOK).write(PAGES).build()


def description(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r'<meta (?:content="([^"]*)" )?name="description"(?: content="([^"]*)")?', html) for text in text if text]


def test_no_warning(pages):
    assert not pages.warnings


def test_description_is_the_first_sentences(pages):
    (text,) = description(pages.read('one.html'))
    assert text.startswith('设 d_k = 64，则方差 a < b，“是”"否"。这一句') and text.endswith('。')
    assert len(text) <= 120


def test_an_authors_description_wins(pages):
    assert description(pages.read('two.html')) == ['作者写的摘要']


def test_language_tag(pages):
    assert '<html lang="zh-CN"' in pages.read('one.html')


@pytest.mark.parametrize('name', ['index.html', 'one.html', 'search.html', 'genindex.html'])
def test_interface_is_chinese(pages, name):
    html = re.sub(r'<(script|style|article)\b.*?</\1>', '', pages.read(name), flags=re.DOTALL)
    shown = re.findall(r'\b(?:title|aria-label|placeholder|alt)="([^"]*)"', html) + re.findall(r'>\s*([^<>{}]+?)\s*<', html)
    assert [text for text in map(unescape, shown) if re.search('[A-Za-z]{3}', text) and text not in {'Ctrl'} and '.html' not in text] == []


def test_every_translation_is_asked_for_by_the_theme():
    """A word that the theme no longer says, or that Sphinx translates by now, has to go from our table."""
    from sphinx import package_dir
    from sphinx.locale import init

    import pydata_sphinx_theme

    theme = Path(pydata_sphinx_theme.__file__).parent
    said = ' '.join(path.read_text(encoding='utf-8') for path in [*theme.rglob('*.html'), theme / 'locale/sphinx.pot'])
    translator, _ = init([package_dir / 'locale'], 'zh_CN', catalog='sphinx', namespace='test')
    for english in CHINESE:
        assert english in said, english
        assert getattr(translator, '_catalog', {}).get(english) in (None, english), english


def test_no_icon_script_no_search_scripts_on_a_page(pages):
    html = pages.read('one.html')
    assert 'search_zh.js' in html
    for unwanted in ('fontawesome.js', 'searchindex.js', 'searchtools.js', 'language_data.js'):
        assert unwanted not in html


def test_every_icon_of_the_page_is_drawn(pages):
    drawn = set(re.findall(r'\.(fa-[a-z-]+) \{ --icon', (ROOT / '_static/icons.css').read_text(encoding='utf-8')))
    for path in pages.outdir.glob('*.html'):
        for classes in re.findall(r'class="([^"]*\bfa-solid\b[^"]*)"', path.read_text(encoding='utf-8')):
            assert drawn & set(classes.split()), classes


def test_cells_that_hold_a_phrase_are_marked(project):
    made = project(['page'], {'index.md': '# 书\n\n| 量 | 想到 |\n|---|---|\n| 1 | 接近一时方向一致 |\n'}).build()
    assert re.findall(r'<td class="([^"]*)"><p>接近一时方向一致', made.read('index.html')) == ['wordy']
    assert made.read('index.html').count('wordy') == 1
