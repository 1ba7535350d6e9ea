"""Numbered blocks in a real browser: folds, links into them, print, keyboard, phone, dark mode, no script."""

from __future__ import annotations

import io
import unicodedata

import pytest

pytestmark = pytest.mark.filterwarnings('ignore')

FILLER = '一段占地方的文字，好让页面要滚动才看得到后面。\n\n' * 40

BOOK = {
    'index.md': '# 小书\n\n:::{toctree}\n:numbered: 2\n\none\n:::\n',
    'one.md': '# 第一章\n\n' + FILLER + """
:::{theorem} 一个题名相当长的定理，用来在窄屏上看它是否折行而不把页面撑宽以及超长单词supercalifragilisticexpialidocioussupercalifragilisticexpialidocious怎样处理
:label: thm-x

结论。
:::

:::{proof}
证明。
:::

::::{exercise} 题
:label: ex-x
:kind: compute
:difficulty: 2

题面，见 {ref}`sol-y` 与 [](#thm-x)。

| 一个很宽的表 | 第二列的列头也长 | 第三列的列头也长 | 第四列的列头也长 | 第五列的列头也长 |
|---|---|---|---|---|
| 1 | 2 | 3 | 4 | 5 |

:::{hint}
先看定义。
:::

:::{hint}
再看定理。
:::
::::

:::{solution} ex-x
:answer: 64

缩放因子的解答。

:::{lemma} 解答里的引理
:label: lem-deep

藏在里面。
:::
:::

:::{exercise}
:label: ex-y
:kind: open
:difficulty: 3

另一题。
:::

:::{solution} ex-y
另一题的解答。
:::
""" + FILLER,
}


@pytest.fixture(scope='module')
def url(tmp_path_factory, serve):
    from tests.conftest import ROOT, Project

    made = Project(
        tmp_path_factory.mktemp('blocks'), ['blocks', 'search_zh'], html_theme='sphinx_book_theme', html_context={'default_mode': 'auto'},
        html_static_path=[str(ROOT / '_static')],       # the search box has a script there
    ).write(BOOK).build()
    assert made.warnings == ''
    return f'{serve(made.outdir)}/one.html'


def in_view(page, selector: str) -> bool:
    return page.locator(selector).evaluate('one => { const box = one.getBoundingClientRect(); return box.top >= 0 && box.top < innerHeight }')


def fold_of(page, id_: str):
    return page.locator(f'details:has(> #{id_})')


def test_solutions_are_folded(url, visit):
    page = visit(url).page
    assert page.locator('details.block-fold').count() == 4
    assert page.locator('details.block-fold[open]').count() == 0
    assert not page.get_by_text('缩放因子的解答').is_visible()
    page.get_by_text('练习 1.1 的解答', exact=True).click()
    assert page.get_by_text('缩放因子的解答').is_visible()
    assert page.locator('details.block-fold[open]').count() == 1


@pytest.mark.parametrize('script', [True, False])
def test_a_link_opens_the_fold(url, visit, script):
    page = visit(f'{url}#sol-x', java_script_enabled=script).page
    page.wait_for_timeout(300)
    if not script:
        # No script to ask with: what is seen is the evidence.
        page.get_by_text('缩放因子的解答').wait_for(state='visible', timeout=2000)
        return
    assert fold_of(page, 'sol-x').evaluate('one => one.open')
    assert in_view(page, '#sol-x')
    assert not fold_of(page, 'sol-y').evaluate('one => one.open')


def test_a_link_to_what_is_deep_in_a_fold(url, visit):
    page = visit(f'{url}#lem-deep').page
    page.wait_for_timeout(300)
    assert page.get_by_text('藏在里面').is_visible()
    assert in_view(page, '#lem-deep')


def test_a_link_on_the_same_page(url, visit):
    visited = visit(url)
    page = visited.page
    page.get_by_role('link', name='练习 1.2 的解答').click()
    page.wait_for_timeout(300)
    assert fold_of(page, 'sol-y').evaluate('one => one.open')
    assert in_view(page, '#sol-y')
    assert visited.errors == []


def test_the_script_opens_folds_where_the_browser_does_not(url, visit):
    """Chromium opens them itself; hide the element from it and let the script do the work."""
    page = visit(url).page
    page.evaluate("document.querySelector('#sol-y').closest('details').open = false; history.replaceState(null, '', '#sol-y')")
    page.wait_for_timeout(100)
    assert not fold_of(page, 'sol-y').evaluate('one => one.open')
    page.evaluate("dispatchEvent(new Event('hashchange'))")
    assert fold_of(page, 'sol-y').evaluate('one => one.open')


@pytest.mark.parametrize('hash_', ['#', '#%', '#nowhere', '#%E4%B8%AD'])
def test_any_hash_is_harmless(url, visit, hash_):
    visited = visit(url + hash_)
    assert visited.errors == []
    assert visited.page.locator('details[open].block-fold').count() == 0


def test_no_errors_and_no_other_host(url, visit):
    visited = visit(url)
    assert visited.errors == []
    assert len(visited.hosts) == 1


def test_reading_without_script(url, visit):
    page = visit(url, java_script_enabled=False).page
    page.get_by_text('练习 1.1 的解答', exact=True).click()
    page.get_by_text('缩放因子的解答').wait_for(state='visible', timeout=2000)


@pytest.mark.parametrize('script', [True, False])
def test_paper_shows_everything(url, visit, script):
    pypdf = pytest.importorskip('pypdf')
    page = visit(url, java_script_enabled=script).page
    # Chromium's PDF spells some characters with their radicals.
    text = unicodedata.normalize('NFKC', ''.join(one.extract_text() for one in pypdf.PdfReader(io.BytesIO(page.pdf())).pages))
    for shown in ('缩放因子的解答', '藏在里面', '先看定义', '另一题的解答'):
        assert shown in text.replace('\n', '')


def test_printing_leaves_folds_as_they_were(url, visit):
    page = visit(f'{url}#sol-x').page
    page.wait_for_timeout(200)
    before = page.locator('details.block-fold').evaluate_all('all => all.map(one => one.open)')
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert all(page.locator('details.block-fold').evaluate_all('all => all.map(one => one.open)'))
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator('details.block-fold').evaluate_all('all => all.map(one => one.open)') == before


def test_keyboard(url, visit):
    """Folds come in reading order, can be seen to have the focus, open with Enter and Space; what is folded takes no focus."""
    page = visit(url).page
    page.locator('#ex-x').evaluate("one => { one.tabIndex = -1; one.focus() }")
    seen = []
    for _ in range(8):
        page.keyboard.press('Tab')
        seen.append(page.evaluate("document.activeElement.matches('summary') ? document.activeElement.innerText.replace(/\\s+/g, '') : ''"))
    assert [one for one in seen if one] == ['练习1.1的提示1', '练习1.1的提示2', '练习1.1的解答', '练习1.2的解答']
    page.locator('summary').first.focus()
    page.keyboard.press('Tab')
    page.keyboard.press('Shift+Tab')
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") not in ('none', '')
    page.keyboard.press('Enter')
    assert page.get_by_text('先看定义').is_visible()
    page.keyboard.press('Space')
    assert not page.get_by_text('先看定义').is_visible()


def test_names_for_who_hears_the_page(url, visit):
    page = visit(url).page
    tree = page.locator('#ex-x').aria_snapshot()
    assert tree.startswith('- group "练习 1.1 题 计算 难度 2')
    assert '●' not in tree.splitlines()[0]
    assert page.get_by_text('练习 1.1 的提示 1').count() == 1


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [390, 1280])
def test_nothing_overflows(url, visit, width, scheme):
    page = visit(f'{url}#sol-x', width=width, color_scheme=scheme).page
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.locator('.block').evaluate_all('all => all.filter(one => one.getBoundingClientRect().right > innerWidth).length') == 0


@pytest.mark.parametrize('width', [390, 1280])
def test_a_reference_stands_in_the_line(url, visit, width):
    page = visit(url, width=width).page
    boxes = page.locator('a .block-ref').evaluate_all('all => all.map(one => getComputedStyle(one).paddingInlineStart)')
    assert boxes == ['0px']


def luminance(rgb) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (one / 255 for one in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# What the eye gets: the computed colours painted on a canvas, so that color-mix() and variables are resolved.
PAINT = """selector => {
  const paint = color => {
    const context = new OffscreenCanvas(1, 1).getContext('2d');
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const style = getComputedStyle(document.querySelector(selector));
  return [paint(style.color), paint(getComputedStyle(document.body).backgroundColor)];
}"""


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('selector', ['.exercise .block-caption', '.theorem .block-caption', '.proof .block-caption', '.solution .block-caption', '.block-meta',
                                      '.hint > summary', '.block-name'])
def test_contrast(url, visit, scheme, selector):
    page = visit(url, color_scheme=scheme).page
    page.wait_for_timeout(300)
    text, ground = (luminance(color) for color in page.evaluate(PAINT, selector))
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5


def test_folds_are_large_enough_to_touch(url, visit):
    page = visit(url, width=390, has_touch=True).page
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert min(page.locator('details.block-fold > summary').evaluate_all('all => all.map(one => one.getBoundingClientRect().height)')) >= 24
