"""Fields, hints, folds, and everybody who reads: keyboard, phone, dark, paper, no script."""

from __future__ import annotations

import re

import pytest

from tests.web.selftest.reader import exercise, fill, mark, said, stored


# -- the form ----------------------------------------------------------------------------------------------------------


def test_right_answers(one):
    page = one.page
    fill(page, '64', '8.25', '12.5%')
    assert said(page) == '全部正确。'
    assert mark(page, '已完成').get_attribute('aria-pressed') == 'true'
    assert stored(page)['ex-one']['mark'] == 'done'
    assert one.errors == []


def test_wrong_answers_lead_to_the_hints_and_then_the_solution(one):
    page = one.page
    form = fill(page, '63', '8.25', '12.5')
    assert said(page) == '(a) 不对。'
    first = form.locator('input').first
    assert first.get_attribute('aria-invalid') == 'true'
    assert first.evaluate('one => one === document.activeElement')
    for name, text in (('看提示 1', '先数一层'), ('看提示 2', '再乘层数'), ('看解答', '这就是解答')):
        assert not page.get_by_text(text).is_visible()
        form.get_by_role('button', name=name).click()
        assert page.get_by_text(text).is_visible()
    assert form.locator('.selftest-help').is_hidden()
    assert page.locator('details.solution[open]').count() == 1


def test_help_is_offered_only_after_a_try(one):
    page = one.page
    assert exercise(page).locator('.selftest-help').is_hidden()
    exercise(page).get_by_role('button', name='核对').click()
    assert said(page) == '先填上你的答案，再核对。'
    assert exercise(page).locator('.selftest-help').is_hidden()


def test_parts_may_be_tried_one_by_one(one):
    page = one.page
    fill(page, '64')
    assert said(page) == '(a) 正确；还有 (b)、(c) 没有填。'
    assert stored(page) == {}


def test_the_state_of_a_field_is_told_and_taken_back(one):
    page = one.page
    form = fill(page, '63')
    first = form.locator('input').first
    described = first.get_attribute('aria-describedby').split()
    assert [page.locator(f'[id="{name}"]').count() for name in described] == [1, 1]
    assert '不对' in page.locator(f'[id="{described[1]}"]').inner_text()
    first.fill('64')
    assert first.get_attribute('aria-invalid') is None


def test_the_source_does_not_tell_the_answer(made):
    text = made.read('one.html')
    forms = ' '.join(re.findall(r'<div class="selftest-form"[^>]*>', text))
    assert 'data-fields' in forms
    without = re.sub(r'&quot;(?:boxes|units)&quot;:\[.*?\](?=[,}])', '', forms)
    assert not re.findall(r'(?<![\w.])(?:64|8\.25|12\.5|0\.125)(?![\w.])', without)


# -- folds -------------------------------------------------------------------------------------------------------------


def test_all_solutions_at_once_and_remembered(one):
    page = one.page
    page.get_by_role('button', name='展开全部解答').click()
    assert page.locator('details.solution[open]').count() == 2
    assert page.locator('details.hint[open]').count() == 0
    page.get_by_role('button', name='收起全部解答').wait_for()
    page.reload()
    assert page.locator('details.solution[open]').count() == 2
    page.get_by_role('button', name='收起全部解答').click()
    page.get_by_role('button', name='展开全部解答').wait_for()
    page.reload()
    assert page.locator('details.solution[open]').count() == 0


def test_printing_is_not_remembered(one):
    page = one.page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator('details.block-fold[open]').count() == 4
    page.wait_for_timeout(100)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_timeout(100)
    page.reload()
    assert page.locator('details.block-fold[open]').count() == 0


# -- everybody ---------------------------------------------------------------------------------------------------------


def test_without_script_there_is_nothing(url, visit):
    page = visit(f'{url}/one.html', java_script_enabled=False).page
    assert page.locator('.selftest-form, .selftest-bar').count() == 3
    for index in range(3):
        place = page.locator('.selftest-form, .selftest-bar').nth(index)
        assert place.inner_text() == ''
        assert place.bounding_box()['height'] == 0


def test_on_paper_there_is_nothing(one):
    one.page.emulate_media(media='print')
    assert one.page.locator('.selftest-form:visible, .selftest-bar:visible').count() == 0


def test_keyboard_alone(one):
    page = one.page
    page.get_by_role('button', name='展开全部解答').focus()
    page.keyboard.press('Tab')
    reached = []
    for _ in range(12):
        reached.append(page.evaluate("(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()"))
        page.keyboard.press('Tab')
    wanted = ['练习与复习', '(a) 的答案', '(b) 的答案，单位 GiB', '(c) 的答案，单位 %', '核对', '已完成', '再练']
    assert [name for name in reached if name in wanted][:len(wanted)] == wanted


@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_fits_and_is_readable(url, visit, width, scheme):
    seen = visit(f'{url}/one.html', width=width, color_scheme=scheme)
    page = seen.page
    fill(page, '63', '8.0', 'x')
    mark(page, '再练', 'ex-two').click()
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    for control in page.locator('.selftest-form :is(button, input):visible').all():
        assert control.bounding_box()['height'] >= 24
    contrast = page.evaluate("""() => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
      const rgb = (colour, under) => {
        if (under) { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); } else canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
      };
      const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const paper = getComputedStyle(document.body).backgroundColor;
      return [...document.querySelectorAll('.selftest-form *, .selftest-bar *')].filter(one => one.checkVisibility() && [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(one => {
        const style = getComputedStyle(one);
        const [a, b] = [light(rgb(style.color, paper)), light(rgb(style.backgroundColor, paper))].sort((x, y) => y - x);
        return [one.className, (a + 0.05) / (b + 0.05)];
      });
    }""")
    assert len(contrast) > 10
    assert [one for one in contrast if one[1] < 4.5] == []
    assert seen.errors == []


def test_names_and_ids(one):
    page = one.page
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    for control in page.locator('.selftest-form input').all():
        assert control.get_attribute('aria-label')
        assert page.locator(f'label[for="{control.get_attribute("id")}"]').count() == 1
    assert page.get_by_role('group', name='练习 1.1.1的标记').count() + page.get_by_role('group', name='练习 1.1.1 的标记').count() == 1
    assert page.locator('#ex-one [role=status]').count() == 1


def test_nothing_moves_while_the_page_loads(browser, url):
    page = browser.new_page(viewport={'width': 1280, 'height': 900})
    page.add_init_script("window.moved = 0; window.shifts = []; new PerformanceObserver(list => { for (const one of list.getEntries()) { moved += one.value; shifts.push(...one.sources.map(source => `${source.node?.nodeName}.${source.node?.className} ${source.previousRect.y}→${source.currentRect.y}`)); } }).observe({ type: 'layout-shift', buffered: true });")
    page.goto(f'{url}/one.html')
    page.wait_for_timeout(500)
    assert page.evaluate('moved') < 0.01, page.evaluate('shifts')
    page.close()


def test_from_a_disk(made, visit):
    seen = visit((made.outdir / 'one.html').as_uri())
    fill(seen.page, '64', '8.25 GiB', '12.5%')
    assert said(seen.page) == '全部正确。'
    seen.page.locator('nav.bd-links .selftest-count').first.wait_for(state='attached')
