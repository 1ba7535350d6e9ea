"""axe-core on one page of each kind, both colour schemes, phone and desktop; and what axe does not see."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest

AXE = (Path(axe_playwright_python.__file__).parent / 'axe.min.js').read_text(encoding='utf-8')
PAGES = ['index', 'search', 'genindex', '404', 'chapter1', 'chapter1/self-attention', 'appendix/glossary', 'appendix/exercises', 'appendix/verification']
VIOLATIONS = """() => axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations.flatMap(
  (one) => one.nodes.slice(0, 3).map((node) => `${one.id}: ${node.html.slice(0, 200)}`)))"""


@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('name', PAGES)
def test_axe_finds_nothing(visit, book_url, name, scheme, width):
    page = visit(f'{book_url}/{name}.html', color_scheme=scheme, width=width).page
    page.set_default_timeout(60_000)
    page.evaluate(AXE)
    assert page.evaluate(VIOLATIONS) == []
    assert page.evaluate('document.documentElement.scrollWidth') <= width


@pytest.mark.parametrize('name', PAGES)
def test_headings_are_in_order(visit, book_url, name):
    levels = visit(f'{book_url}/{name}.html').page.evaluate(
        "() => [...document.querySelectorAll('.bd-article :is(h1, h2, h3, h4, h5, h6)')].filter((one) => !one.closest('dialog')).map((one) => +one.tagName[1])")
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), levels


def test_every_table_scrolls_inside_itself(visit, book_url):
    page = visit(f'{book_url}/chapter1/self-attention.html', width=390).page
    assert page.locator('.bd-article table').count() > 0
    assert page.evaluate("[...document.querySelectorAll('.bd-article table')].every((one) => one.closest('.pst-scrollable-table-container'))")


def test_the_first_stop_skips_to_the_text(visit, book_url):
    page = visit(f'{book_url}/chapter1.html').page
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.getAttribute("href")') == '#main-content'
    page.keyboard.press('Enter')
    assert page.evaluate('location.hash') == '#main-content'
