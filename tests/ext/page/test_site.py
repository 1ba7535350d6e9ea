"""What a page says of its site: nothing where nothing is known, all of it on Read the Docs."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from page.site import feedback_url, on_read_the_docs
from tests.ext.page.test_page import EXTENSIONS, LOOK, PAGES

HOSTED = {
    'READTHEDOCS': 'True',
    'READTHEDOCS_CANONICAL_URL': 'https://book.example.org/zh-cn/latest/',
    'READTHEDOCS_GIT_CLONE_URL': 'https://git.example.org/team/book.git',
    'READTHEDOCS_LANGUAGE': 'zh_CN',
    'READTHEDOCS_VERSION': 'latest',
}


@pytest.fixture
def hosted(project, monkeypatch):
    for name, value in HOSTED.items():
        monkeypatch.setenv(name, value)
    return project(EXTENSIONS, PAGES, **LOOK).build()


@pytest.fixture
def local(project, monkeypatch):
    monkeypatch.delenv('READTHEDOCS', raising=False)
    return project(EXTENSIONS, PAGES, **LOOK).build()


def test_nothing_is_claimed_where_nothing_is_known(local):
    assert local.warnings == ''
    html = local.read('one.html')
    for absent in ('og:', 'rel="canonical"', '本页有错', 'book-downloads'):
        assert absent not in html
    assert not (local.outdir / 'sitemap.xml').exists()


def test_address_card_and_sitemap(hosted):
    assert hosted.warnings == ''
    html = hosted.read('one.html')
    assert '<link rel="canonical" href="https://book.example.org/zh-cn/latest/one.html"' in html
    assert '<meta property="og:url" content="https://book.example.org/zh-cn/latest/one.html"' in html
    assert '<meta property="og:title" content="第一节"' in html
    assert '<loc>https://book.example.org/zh-cn/latest/one.html</loc>' in hosted.read('sitemap.xml')
    assert 'https://book.example.org/_/downloads/zh-cn/latest/pdf/' in html


def test_report_names_section_page_and_version(hosted):
    html = hosted.read('one.html')
    assert '本页有错？' in html
    address = urlsplit(feedback_url('https://git.example.org/team/book', '1.1 第一节', 'one', '2026.11'))
    assert address.path == '/team/book/issues/new'
    body = parse_qs(address.query)['body'][0]
    assert '1.1 第一节（one）' in body
    assert '2026.11' in body


def test_page_not_found_is_chinese_and_finds_its_styles(hosted):
    html = hosted.read('404.html')
    assert '没有这一页' in html
    assert 'href="/zh-cn/latest/_static/' in html
    assert 'href="_static/' not in html


def test_elsewhere_the_environment_says_nothing():
    assert on_read_the_docs({}) == {}
    assert on_read_the_docs({'READTHEDOCS': 'True'}) == {}
