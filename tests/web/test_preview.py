"""What a reference points to, on hover and on focus."""

from __future__ import annotations

import pytest

SECTION = 'chapter1/self-attention.html'
KINDS = {
    'equation': '.bd-article a[href^="#equation-"]', 'block': '.bd-article a[href^="#ex-"], .bd-article a[href^="#thm-"]',
    'term': '.bd-article a[href*="glossary.html#term"]', 'literature': '.bd-article a[href*="bibliography.html#cite-"]',
}


@pytest.mark.parametrize('kind', KINDS)
def test_hover_shows_the_target_and_leaving_hides_it(visit, book_url, kind):
    seen = visit(f'{book_url}/{SECTION}')
    link = seen.page.locator(KINDS[kind]).locator('visible=true').first
    link.hover()
    box = seen.page.locator('#book-preview')
    box.wait_for()
    assert (box.locator('math').count() if kind == 'equation' else len(box.inner_text())) > 0
    assert link.get_attribute('aria-describedby') == 'book-preview'
    assert box.locator('details, [id], input, button').count() == 0
    seen.page.mouse.move(2, 2)
    box.wait_for(state='detached')
    assert seen.errors == []


def test_focus_shows_and_escape_hides(visit, book_url):
    page = visit(f'{book_url}/{SECTION}').page
    page.keyboard.press('Tab')
    page.locator(KINDS['equation']).locator('visible=true').first.focus()
    page.wait_for_selector('#book-preview')
    page.keyboard.press('Escape')
    assert page.locator('#book-preview').count() == 0


def test_a_folded_solution_is_not_shown(visit, book_url):
    page = visit(f'{book_url}/{SECTION}').page
    page.evaluate("""() => document.querySelector('.bd-article p').insertAdjacentHTML('beforeend',
      `<a id="to-solution" class="reference internal" href="#${document.querySelector('details.solution [id]').id}">解答</a>`)""")
    page.hover('#to-solution')
    page.wait_for_timeout(700)
    assert page.locator('#book-preview').count() == 0


def test_other_pages_are_left_alone_from_a_file(visit, book):
    seen = visit((book / SECTION).as_uri())
    seen.page.locator(KINDS['term']).locator('visible=true').first.hover()
    seen.page.wait_for_timeout(700)
    assert seen.page.locator('#book-preview').count() == 0 and not any('glossary' in one for one in seen.errors)
    seen.page.locator(KINDS['equation']).locator('visible=true').first.hover()
    seen.page.wait_for_selector('#book-preview')


def test_a_touch_follows_the_link_and_shows_nothing(visit, book_url):
    page = visit(f'{book_url}/{SECTION}', width=390, has_touch=True, is_mobile=True).page
    link = page.locator(KINDS['equation']).locator('visible=true').first
    target = link.get_attribute('href')
    link.tap()
    page.wait_for_function('(hash) => location.hash === hash', arg=target)
    page.wait_for_timeout(700)
    assert page.locator('#book-preview').count() == 0
    page.locator(KINDS['term']).locator('visible=true').first.tap()
    page.wait_for_url('**/glossary.html#*')
    page.wait_for_timeout(700)
    assert page.locator('#book-preview').count() == 0


def test_paper_shows_no_preview(visit, book_url):
    page = visit(f'{book_url}/{SECTION}').page
    page.locator(KINDS['equation']).locator('visible=true').first.hover()
    page.locator('#book-preview').wait_for()
    page.emulate_media(media='print')
    assert not page.locator('#book-preview').is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('#book-preview')).display") == 'none'
