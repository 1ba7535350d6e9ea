"""Formulas in a real browser: the font draws them, wide ones scroll in their own box, their TeX can be copied."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WIDE = r'\nabla\loss=' + '+'.join(rf'\frac{{x_{{{i}}}}}{{y_{{{i}}}}}' for i in range(24))
SECTION = rf"""
# 代价 $\sqrt{{d_k}}$

行内 $\frac12$ 与 $\sqrt{{x}}b$，很长的 $p(x_1,x_2,x_3)=p(x_1)p(x_2\mid x_1)p(x_3\mid x_1,x_2)p(x_4\mid x_1,x_2,x_3)$ 完。

$$
\left(\frac{{\frac{{a}}{{b}}}}{{\frac{{c}}{{d}}}}\right)
$$ (eq-tall)

$$
{WIDE}
$$ (eq-wide)

$$
y\underbrace{{a+b+c+d+e+f+g+h+i+j+k+l}}_{{n}}
$$
"""


ADDRESSES: dict[str, str] = {}


@pytest.fixture
def build(project, serve):
    """Address of the section under a theme; built once."""

    def make(theme: str) -> str:
        if theme in ADDRESSES:
            return ADDRESSES[theme]
        built = project(
            ['mathml'],
            {'index.md': '# 书\n\n```{toctree}\n:numbered:\none\n```\n', 'one.md': '# 章\n\n```{toctree}\nsec\n```\n', 'sec.md': SECTION},
            html_theme=theme,
            html_static_path=[str(ROOT / '_static')],
        ).build()
        assert not built.warnings
        ADDRESSES[theme] = serve(built.outdir) + '/sec.html'
        return ADDRESSES[theme]

    return make


@pytest.fixture
def url(build):
    return build('sphinx_book_theme')


BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
    const r = e.getBoundingClientRect(); return {left: r.left, right: r.right, width: r.width, height: r.height}; })"""


def test_the_font_draws_the_formulas(build, visit):
    opened = visit(build('basic'))
    page = opened.page
    page.evaluate('document.fonts.ready')
    assert page.evaluate("document.fonts.check('16px \"Book Math\"') && [...document.fonts].some(f => f.status === 'loaded')")
    assert sum(address.endswith('math.woff2') for address in opened.urls) == 1, 'preloaded and used, not fetched twice'
    (host,) = opened.hosts
    assert host.startswith('127.0.0.1')
    assert not [error for error in opened.errors if '404' not in error], 'nothing but the missing favicon'
    (half,) = page.evaluate(BOXES, 'p math mfrac')
    assert half['height'] > 1.5 * half['width'] > 0
    tall, paren = page.evaluate(BOXES, '#equation-eq-tall math')[0], page.evaluate(BOXES, '#equation-eq-tall mo')[0]
    assert paren['height'] > 0.9 * tall['height'] > 50, 'the bracket grew with the fraction'


def test_no_gap_after_a_root(url, visit):
    page = visit(url).page
    page.evaluate('document.fonts.ready')
    root, under = page.evaluate(BOXES, 'p msqrt')[0], page.evaluate(BOXES, 'p msqrt > mi')[0]
    assert root['right'] - under['right'] < 1.5


def test_a_wide_formula_scrolls_in_its_own_box(url, visit):
    page = visit(url, width=390, height=800).page
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    box = page.locator('#equation-eq-wide .math-scroll')
    assert box.evaluate('e => e.scrollWidth > 2 * e.clientWidth')
    (number,) = page.evaluate(BOXES, '#equation-eq-wide .eqno')
    assert 0 < number['left'] < number['right'] <= 390
    assert box.evaluate('e => { e.scrollLeft = 10000; return e.scrollLeft; }') > 0
    assert page.evaluate(BOXES, '#equation-eq-wide .eqno') == [number], 'the number stays'
    box.focus()
    before = box.evaluate('e => e.scrollLeft')
    page.keyboard.press('ArrowLeft')
    page.wait_for_function('([e, x]) => e.scrollLeft < x', arg=[box.element_handle(), before])


def test_only_what_scrolls_is_a_stop_for_the_keyboard(url, visit):
    for width, wanted in ((390, ['group', None]), (1280, ['group'])):
        page = visit(url, width=width).page
        page.wait_for_selector('article [tabindex="0"]')
        stops = page.evaluate("[...document.querySelectorAll('article :is(.math-scroll, math)[tabindex]')].map(e => e.getAttribute('role'))")
        assert sorted(stops, key=str) == sorted(wanted, key=str)


def test_a_long_brace_is_painted_whole(url, visit):
    """Chromium forgets tiles that the unstretched brace does not touch; look for ink at both ends."""
    page = visit(url, device_scale_factor=3).page
    page.evaluate('document.fonts.ready')
    base = page.locator('munder > munder > mrow').first
    base.scroll_into_view_if_needed()
    dark = """async ([data, boxes]) => {
        const image = await createImageBitmap(await (await fetch('data:image/png;base64,' + data)).blob());
        const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext('2d');
        pen.drawImage(image, 0, 0);
        return boxes.map(b => pen.getImageData(...b).data.filter((v, i) => i % 4 === 0 && v < 128).length); }"""
    box = base.bounding_box()
    shot = base64.b64encode(page.screenshot()).decode()
    y, height = 3 * (box['y'] + box['height'] + 1), 3 * 8
    ends = [[3 * box['x'], y, 40, height], [3 * (box['x'] + box['width']) - 40, y, 40, height]]
    assert all(count > 20 for count in page.evaluate(dark, [shot, ends]))


def test_copied_text_holds_the_tex(url, visit):
    page = visit(url).page
    page.evaluate("""() => {
        const range = document.createRange();
        range.selectNodeContents(document.querySelector('article p'));
        getSelection().removeAllRanges(); getSelection().addRange(range); }""")
    page.wait_for_function('window.bookTex')
    copied = page.evaluate("""() => {
        const event = new ClipboardEvent('copy', {clipboardData: new DataTransfer(), bubbles: true, cancelable: true});
        document.querySelector('article p').dispatchEvent(event);
        return [event.clipboardData.getData('text/plain'), event.clipboardData.getData('text/html')]; }""")
    assert copied[0].startswith(r'行内 $\frac12$ 与 $\sqrt{x}b$，')
    assert '<math>' in copied[1]


def test_every_formula_of_the_book_has_its_tex(book, book_url, visit):
    """As many as the page shows, in the same order: checked where MathML and TeX can be told to agree, at plain one-letter formulas."""
    pages = sorted(path.relative_to(book / '_tex').with_suffix('.html') for path in (book / '_tex').rglob('*.js'))
    assert pages
    for name in pages:
        page = visit(f'{book_url}/{name}').page
        page.add_script_tag(url=page.locator('meta[name="book-tex"]').evaluate('meta => new URL(meta.content, document.baseURI).href'))
        shown = page.evaluate("[...document.querySelectorAll('article math')].map(math => math.textContent)")
        tex = page.evaluate('window.bookTex')
        assert len(shown) == len(tex), name
        assert all(one == two for one, two in zip(shown, tex, strict=True) if len(two) == 1 and two.isalpha()), name


def test_complete_without_scripts(url, visit):
    page = visit(url, width=390, java_script_enabled=False).page
    assert page.locator('math').count() >= 6
    assert page.locator('#equation-eq-wide .eqno').is_visible()
