"""axe-core on one page of each kind, both colour schemes, phone and desktop; and what axe does not see."""

from __future__ import annotations

import itertools
from pathlib import Path

import axe_playwright_python
import pytest

AXE = (Path(axe_playwright_python.__file__).parent / 'axe.min.js').read_text(encoding='utf-8')
# A source page of the checks stands for all of them, a section for all sections.
PAGES = ['index', 'preface/how-to-read', 'appendix/notation', 'appendix/pytorch', 'appendix/bibliography', '_checks/chapter1/test_chapter1', 'search', 'genindex', '404', 'chapter1', 'chapter1/self-attention', 'appendix/glossary', 'appendix/exercises', 'appendix/verification']
# A long page is laid out as it is read, and only then are its wide formulas and its forms what they are for a reader.
WALK = """async () => {
  for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
    scrollTo(0, y);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
  scrollBy(0, -300);      // and who turns back is offered the way to the top
  await new Promise((done) => setTimeout(done, 300));
}"""
VIOLATIONS = """() => axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations.flatMap(
  (one) => one.nodes.slice(0, 3).map((node) => `${one.id}: ${node.html.slice(0, 200)}`)))"""


@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('name', PAGES)
def test_axe_finds_nothing(visit, book_url, name, scheme, width):
    page = visit(f'{book_url}/{name}.html', color_scheme=scheme, width=width).page
    page.set_default_timeout(60_000)
    page.evaluate(WALK)
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


# Where each stop of the Tab key is: part of the page, place in the document, place on the screen, whether the focus can be seen.
STOP = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const parts = {skip: '.skip-link, #pst-skip-link', sidebar: '.bd-sidebar-primary, #pst-primary-sidebar', bar: '.bd-header-article', text: '.bd-article', contents: '.bd-sidebar-secondary',
    nearby: '.prev-next-footer', footer: '.bd-footer-content, .bd-footer'};
  const stops = [...document.querySelectorAll('*')];     // forms come while the page is walked through
  const style = getComputedStyle(one);
  return {
    part: Object.keys(parts).find((name) => one.closest(parts[name])) ?? one.outerHTML.slice(0, 120),
    at: stops.indexOf(one), html: one.outerHTML.slice(0, 120), visible: one.checkVisibility({visibilityProperty: true}), tabindex: one.tabIndex,
    ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none' || style.textDecorationLine !== 'none',
  };
}"""


@pytest.mark.parametrize('name', ['index', 'chapter1/multi-head-attention', 'appendix/exercises'])
def test_the_tab_key_goes_through_the_page_in_order(visit, book_url, name):
    """In the order of the document, through every part once, never to what is hidden, and back out: no trap."""
    page = visit(f'{book_url}/{name}.html', height=1000).page
    seen = []
    for _ in range(5000):
        page.keyboard.press('Tab')
        if (stop := page.evaluate(STOP)) is None or (seen and stop['at'] == seen[0]['at']):
            break
        seen.append(stop)
    else:
        pytest.fail(f'按了 5000 次 Tab 还没有走完：{seen[-1]}')
    assert [stop['html'] for stop in seen if not stop['visible'] or stop['tabindex'] > 0] == []
    assert [stop['html'] for stop in seen if not stop['ring']] == [], '看不出焦点在哪里'
    places = [stop['at'] for stop in seen]
    assert places == sorted(places), [(a['html'], b['html']) for a, b in zip(seen, seen[1:]) if a['at'] > b['at']]
    parts = [part for part, _ in itertools.groupby(stop['part'] for stop in seen)]
    assert len(parts) == len(set(parts)), parts
    assert parts[0] == 'skip' and parts.index('sidebar') < parts.index('text')


def test_folds_and_preview_by_keyboard(visit, book_url):
    page = visit(f'{book_url}/chapter1/self-attention.html').page
    page.locator('details.solution > summary').first.focus()
    page.keyboard.press('Enter')
    assert page.locator('details.solution').first.evaluate('one => one.open')
    page.keyboard.press('Space')
    assert not page.locator('details.solution').first.evaluate('one => one.open')
