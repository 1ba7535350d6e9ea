"""Marks, progress, the page of all exercises, and a browser that will not keep anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.web.selftest.reader import KEY, exercise, fill, mark, stored


# -- marks -------------------------------------------------------------------------------------------------------------


def test_marks_stay_and_can_be_taken_back(one):
    page = one.page
    mark(page, '再练', 'ex-two').click()
    page.reload()
    assert mark(page, '再练', 'ex-two').get_attribute('aria-pressed') == 'true'
    assert mark(page, '已完成', 'ex-two').get_attribute('aria-pressed') == 'false'
    mark(page, '已完成', 'ex-two').click()
    assert stored(page)['ex-two']['mark'] == 'done'
    mark(page, '已完成', 'ex-two').click()
    assert stored(page) == {}


def test_an_edited_exercise_asks_again(one):
    page = one.page
    mark(page, '已完成').click()
    page.evaluate("key => localStorage.setItem(key, localStorage.getItem(key).replace(/\"statement\":\"\\w+\"/, '\"statement\":\"00000000\"'))", KEY)
    page.reload()
    assert exercise(page).get_by_text('题目已更新').is_visible()
    assert mark(page, '已完成').get_attribute('aria-pressed') == 'false'
    assert page.locator('.selftest-page').inner_text() == '本页已完成 0/2'
    mark(page, '已完成').click()
    assert exercise(page).get_by_text('题目已更新').is_hidden()
    assert mark(page, '已完成').get_attribute('aria-pressed') == 'true'


def test_two_tabs_do_not_overwrite_each_other(one, url):
    page = one.page
    other = page.context.new_page()
    other.goto(f'{url}/one.html')
    mark(other, '再练', 'ex-two').click()
    mark(page, '已完成').click()
    other.wait_for_function("document.querySelector('#ex-one .done').ariaPressed === 'true'")
    mark(other, '已完成', 'ex-two').click()
    assert {name: entry['mark'] for name, entry in stored(page).items()} == {'ex-one': 'done', 'ex-two': 'done'}


def test_progress_in_the_sidebar_and_on_the_home_page(one, url):
    page = one.page
    assert page.locator('.selftest-count').count() == 0
    assert not [asked for asked in one.urls if 'exercises-data' in asked]      # nothing is fetched for who marks nothing
    mark(page, '已完成').click()
    page.locator('nav.bd-links .selftest-count').first.wait_for(state='attached')
    counts = page.locator('nav.bd-links a:has(.selftest-count)').evaluate_all("links => links.map(one => [one.firstChild.textContent.trim(), one.querySelector('[aria-hidden]').textContent])")
    assert counts == [['1 第一章', '1/3'], ['1.1 第一节', '1/2']]
    page.goto(f'{url}/index.html')
    page.locator('.sd-card .selftest-count').wait_for()
    assert '1/3' in page.locator('.sd-card').inner_text()
    assert one.errors == []


# -- review ------------------------------------------------------------------------------------------------------------


def lines(page) -> list[str]:
    shown = page.locator('ul.exercise-list:not(.selftest-again) > li:visible').all_inner_texts()
    return [re.search(r'题[一二三]', line)[0] for line in shown]


def test_what_to_try_again(review):
    assert review.locator('.selftest-again > li').count() == 1
    assert '题二' in review.locator('.selftest-again').inner_text()
    assert review.locator('.selftest-summary').inner_text() == '已完成 1 / 3 题，再练 1 题。'
    review.locator('.selftest-again a').first.click()
    assert review.url.endswith('one.html#ex-two')


@pytest.mark.parametrize(('choice', 'value', 'wanted'), [
    ('种类', 'open', ['题三']), ('难度', '1', ['题二']), ('标记', 'done', ['题一']), ('标记', 'again', ['题二']), ('标记', 'none', ['题三']), ('标记', 'updated', []),
])
def test_filters(review, choice, value, wanted):
    assert lines(review) == ['题一', '题二', '题三']
    review.get_by_label(choice, exact=True).select_option(value)
    assert lines(review) == wanted
    assert review.locator('.selftest-shown').inner_text() == f'共 3 题，显示 {len(wanted)} 题'


def export(page) -> Path:
    with page.expect_download() as download:
        page.get_by_role('button', name='导出标记').click()
    assert re.fullmatch(r'练习标记-\d{4}-\d\d-\d\d\.json', download.value.suggested_filename)
    return download.value.path()


def test_out_away_and_in_again(review, tmp_path):
    before = stored(review)
    file = tmp_path / 'marks.json'
    file.write_bytes(export(review).read_bytes())
    review.once('dialog', lambda dialog: dialog.dismiss())
    review.get_by_role('button', name='全部清除').click()
    assert stored(review) == before
    review.once('dialog', lambda dialog: dialog.accept())
    review.get_by_role('button', name='全部清除').click()
    assert stored(review) == {}
    assert review.evaluate('Object.keys(localStorage).filter(key => key.startsWith("小书:"))') == []
    assert review.locator('.selftest-empty').is_visible()
    review.locator('input[type=file]').set_input_files(file)
    review.get_by_text('并入 2 条标记').wait_for()
    assert stored(review) == before
    assert review.locator('.selftest-again > li').count() == 1


def bring(page, content: str):
    page.locator('input[type=file]').set_input_files({'name': 'm.json', 'mimeType': 'application/json', 'buffer': content.encode()})


def test_import_keeps_what_is_newer(review):
    own = stored(review)
    entry = {'mark': 'again', 'statement': own['ex-one']['statement']}
    bring(review, json.dumps({'format': 'exercise-marks', 'version': 1, 'marks': {
        'ex-one': {**entry, 'at': '2001-01-01T00:00:00.000Z'}, 'ex-two': {**entry, 'mark': 'done', 'at': '2999-01-01T00:00:00.000Z'}, 'ex-three': {**entry, 'at': '2026-01-01T00:00:00Z'},
        '__proto__x': {**entry, 'at': '2026-01-01T00:00:00Z'}, 'ex-bad': {'mark': 'perfect'}, 'ex-null': None,
    }}))
    review.get_by_text('新增 1，更新 1').wait_for()
    assert '3 条读不懂' in review.locator('.selftest-said').inner_text()
    assert {name: one['mark'] for name, one in stored(review).items()} == {'ex-one': 'done', 'ex-two': 'done', 'ex-three': 'again'}


@pytest.mark.parametrize('content', ['', 'null', '[]', '{"marks": {}}', '{"format": "exercise-marks", "version": 2, "marks": {}}', '{"format":"exercise-marks","version":1,"marks":null}', 'PNG\x00'])
def test_import_refuses_what_is_no_export(review, content):
    before = stored(review)
    bring(review, content)
    review.get_by_text('什么也没有改动').wait_for()
    assert stored(review) == before


# -- a browser that keeps nothing --------------------------------------------------------------------------------------


DENIED = "for (const kind of ['localStorage', 'sessionStorage']) Object.defineProperty(window, kind, { get() { throw new DOMException('denied', 'SecurityError'); } });"
FULL = "Storage.prototype.setItem = function () { throw new DOMException('full', 'QuotaExceededError'); };"


def faulty(browser, url: str, script: str):
    """A page with ``script`` run first, and what went wrong in our scripts: the theme's own do not survive a denied storage."""
    context = browser.new_context(locale='zh-CN')
    context.add_init_script(script)
    page = context.new_page()
    errors: list[str] = []
    page.on('pageerror', lambda error: errors.append(error.stack) if 'selftest' in (error.stack or '') else None)
    page.goto(url, wait_until='load')
    return context, page, errors


@pytest.mark.parametrize('script', [DENIED, FULL], ids=['denied', 'full'])
def test_without_storage_the_page_works_and_tells_once(browser, url, script):
    context, page, errors = faulty(browser, f'{url}/one.html', script)
    assert page.locator('.selftest-notice').inner_text() == ''
    fill(page, '64', '8.25', '12.5%')
    assert mark(page, '已完成').get_attribute('aria-pressed') == 'true'
    mark(page, '再练', 'ex-two').click()
    assert mark(page, '再练', 'ex-two').get_attribute('aria-pressed') == 'true'
    assert mark(page, '已完成').get_attribute('aria-pressed') == 'true'
    assert page.locator('.selftest-notice').inner_text().count('标记只在这一页有效') == 1
    page.get_by_role('button', name='展开全部解答').click()
    assert page.locator('details.solution[open]').count() == 2
    assert errors == []
    context.close()


@pytest.mark.parametrize('text', ['{', '[1, 2', 'null', '"x"', '{"format":"exercise-marks","version":1,"marks":7}'])
def test_unreadable_marks_are_set_aside_and_told(one, text):
    page = one.page
    page.evaluate('([key, text]) => localStorage.setItem(key, text)', [KEY, text])
    page.reload()
    assert '读不出来' in page.locator('.selftest-notice').inner_text()
    assert page.evaluate('key => localStorage.getItem(key)', f'{KEY}:unreadable') == text
    mark(page, '已完成').click()
    assert stored(page)['ex-one']['mark'] == 'done'
    page.reload()
    assert page.locator('.selftest-notice').inner_text() == ''
    assert [error for error in one.errors if 'ERR_ABORTED' not in error] == []      # the icon, when a reload overtakes it
