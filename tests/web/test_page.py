"""Pages of the built book: what they load, how wide they are, what they say, and how they behave in a browser."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from urllib.parse import unquote, urlsplit

import html5lib
import pytest

# Where a file makes the browser ask for something. Links that a reader has to click are not among them.
REQUESTS = {
    '.html': re.compile(r'<(?:script|img|iframe|source|video|audio|embed|object|input)\b[^>]*?\s(?:src|srcset|data)="([^"]*)"|<link\b[^>]*?\shref="([^"]*)"', re.I),
    '.css': re.compile(r'url\(\s*["\']?([^"\')]*)|@import\s+["\']([^"\']*)', re.I),
    '.js': re.compile(r'''(?:\.src\s*=|\bimport\s*\(|\bfetch\s*\(|\bnew Worker\s*\(|importScripts\s*\()\s*["'`]([^"'`]*)''', re.I),
}
WIDTHS = {'desktop': 1280, 'phone': 390}


@pytest.fixture(scope='module')
def names(book) -> list[str]:
    return sorted(str(path.relative_to(book)) for path in book.rglob('*.html') if '_static' not in path.parts)


@pytest.fixture(scope='module')
def trees(book, names):
    return {name: html5lib.parse((book / name).read_text(encoding='utf-8'), namespaceHTMLElements=False) for name in names}


@pytest.fixture(scope='module')
def kinds(names) -> list[str]:
    """One page of each kind, the longest sections among them."""
    wanted = ['index.html', 'search.html', 'genindex.html', 'chapter1.html', 'chapter1/self-attention.html', 'appendix/glossary.html', 'preface/how-to-read.html']
    return [name for name in wanted if name in names]


# -- files -------------------------------------------------------------------------------------------------------------


def test_no_file_asks_another_host(book):
    found = []
    for path in book.rglob('*'):
        if pattern := REQUESTS.get(path.suffix):
            for match in pattern.finditer(path.read_text(encoding='utf-8')):
                address = next(filter(None, match.groups()), '')
                if re.match(r'(?:https?:)?//', address) and 'rel="canonical"' not in match[0]:
                    found.append(f'{path.relative_to(book)}: {match[0][:120]}')
    assert found == []


def test_ids_are_unique(trees):
    for name, tree in trees.items():
        ids = Counter(node.get('id') for node in tree.iter() if isinstance(node.tag, str) and node.get('id'))
        assert [one for one, count in ids.items() if count > 1] == [], name


def test_links_within_the_book_lead_somewhere(book, trees):
    ids = {name: {node.get('id') for node in tree.iter() if isinstance(node.tag, str)} for name, tree in trees.items()}
    dead = []
    for name, tree in trees.items():
        for link in tree.iter('a'):
            parts = urlsplit(link.get('href') or '')
            if parts.scheme or parts.netloc or not link.get('href'):
                continue
            # The page for missing addresses is shown at any depth: its links begin at the root of the site.
            base = book if parts.path.startswith('/') and name == '404.html' else (book / name).parent
            target = (base / unquote(parts.path).lstrip('/')).resolve() if parts.path else (book / name).resolve()
            if not target.exists():
                dead.append((name, link.get('href')))
            elif parts.fragment and target.suffix == '.html' and unquote(parts.fragment) not in ids.get(str(target.relative_to(book.resolve())), {unquote(parts.fragment)}):
                dead.append((name, link.get('href')))
    assert dead == []


def test_head(trees):
    for name, tree in trees.items():
        assert tree.get('lang') == 'zh-CN', name
        assert (tree.findtext('.//title') or '').strip(), name
        if name not in {'search.html', 'genindex.html', '404.html'} and not name.startswith('_'):  # pages without a source
            descriptions = [meta.get('content') for meta in tree.iter('meta') if meta.get('name') == 'description']
            assert len(descriptions) == 1 and descriptions[0], name


def test_pages_are_light(book, names):
    for name in names:
        size = len(gzip.compress((book / name).read_bytes()))
        assert size <= 60 * 1024, f'{name}: {size} bytes'


# -- browser -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('width', WIDTHS.values(), ids=WIDTHS)
def test_quiet_and_within_the_window(visit, book_url, kinds, width):
    for name in kinds:
        seen = visit(f'{book_url}/{name}', width=width)
        seen.page.wait_for_timeout(200)
        assert seen.errors == [], name
        assert seen.hosts == {urlsplit(book_url).netloc}, name
        assert seen.page.evaluate('document.documentElement.scrollWidth') <= width, name


def test_quiet_from_a_file(visit, book, kinds):
    for name in kinds:
        seen = visit((book / name).as_uri())
        seen.page.wait_for_timeout(300)
        assert seen.errors == [], name
        assert seen.hosts == set(), name


def test_the_math_font_is_fetched_early_and_once(visit, book_url):
    seen = visit(f'{book_url}/chapter1/self-attention.html')
    fonts = [url for url in seen.urls if url.endswith('math.woff2')]
    assert len(fonts) == 1
    asked_by, start, parsed = seen.page.evaluate("""() => {
      const font = performance.getEntriesByType('resource').find((one) => one.name.endsWith('math.woff2'));
      return [font.initiatorType, font.startTime, performance.getEntriesByType('navigation')[0].domInteractive];
    }""")
    assert asked_by == 'link' and start < parsed, '由页首的预载取，不等样式表与版面'
    assert seen.page.evaluate("document.fonts.check('16px \"Book Math\"')")


def test_the_math_font_shows_from_a_file(visit, book):
    page = visit((book / 'chapter1/self-attention.html').as_uri()).page
    page.evaluate('document.fonts.ready')
    assert page.evaluate("[...document.fonts].filter((one) => one.family.includes('Book Math')).map((one) => one.status)") == ['loaded']


def test_first_view_weighs_little(visit, book_url, book, kinds):
    """All a browser fetches to show a page, compressed as a server would; the search index has a budget of its own (``test_index_is_small``)."""
    for name in kinds:
        seen = visit(f'{book_url}/{name}')
        seen.page.wait_for_timeout(300)
        total = 0
        for url in {url.split('?')[0].split('#')[0] for url in seen.urls if url.startswith('http')} - {f'{book_url}/searchdata/index.js'}:
            data = (book / unquote(urlsplit(url).path).lstrip('/')).read_bytes()
            total += len(data) if url.endswith(('.woff2', '.png', '.webp')) else len(gzip.compress(data))
        assert total <= 300 * 1024, f'{name}: {total} bytes'
        assert not [url for url in seen.urls if 'fontawesome' in url or '/fa-' in url], name


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_follows_the_system_colours(visit, book_url, scheme):
    page = visit(f'{book_url}/index.html', color_scheme=scheme).page
    red, green, blue = map(int, re.findall(r'\d+', page.evaluate('getComputedStyle(document.body).backgroundColor'))[:3])
    assert (min(red, green, blue) > 200) == (scheme == 'light')
    assert page.evaluate('document.documentElement.dataset.theme') == scheme


def test_measure_and_leading(visit, book_url):
    style = visit(f'{book_url}/preface/how-to-read.html', width=1440).page.evaluate("""() => {
      const p = [...document.querySelectorAll('article p')].sort((a, b) => b.innerText.length - a.innerText.length)[0];
      const computed = getComputedStyle(p);
      return [p.getBoundingClientRect().width / parseFloat(computed.fontSize), parseFloat(computed.lineHeight) / parseFloat(computed.fontSize)];
    }""")
    assert 38 <= style[0] <= 42
    assert 1.7 <= style[1] <= 1.95


def test_icons_draw_without_a_font(visit, book_url):
    page = visit(f'{book_url}/index.html').page
    boxes = page.evaluate("""() => [...document.querySelectorAll('.fa-solid')].filter((icon) => icon.checkVisibility()).map((icon) => {
      const before = getComputedStyle(icon, '::before');
      return [icon.className, before.maskImage.startsWith('url("data:image/svg'), parseFloat(before.width)];
    })""")
    assert boxes
    assert [box for box in boxes if not box[1] or box[2] < 10] == []


def test_the_table_of_contents_folds_on_a_wide_screen(visit, book_url):
    page = visit(f'{book_url}/index.html').page
    page.click('.primary-toggle')
    page.wait_for_function('!document.getElementById("pst-primary-sidebar").checkVisibility({visibilityProperty: true})')


def test_the_table_of_contents_opens_on_a_phone(visit, book_url):
    page = visit(f'{book_url}/index.html', width=390).page
    page.click('.primary-toggle')
    page.wait_for_selector('dialog[open] nav[aria-label="全书目录"]')
    assert page.locator('dialog[open] nav a').first.is_visible()


def test_readable_without_javascript(visit, book_url):
    page = visit(f'{book_url}/chapter1.html', java_script_enabled=False).page
    assert page.get_by_role('heading', level=1).is_visible()
    assert page.locator('nav[aria-label="全书目录"] a').first.is_visible()
    assert not page.locator('.search-button-field').first.is_visible()


def test_readable_when_storage_is_denied(visit, book_url):
    """The first script of the page decides the colours; it must not fail with the storage."""
    seen = visit('about:blank', color_scheme='dark')
    seen.page.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError'); } })")
    seen.page.goto(f'{book_url}/index.html')
    assert seen.page.evaluate('document.documentElement.dataset.theme') == 'dark'


def test_print_shows_the_text_alone(visit, book_url):
    page = visit(f'{book_url}/chapter1.html', color_scheme='dark').page
    page.emulate_media(media='print')
    assert page.get_by_role('heading', level=1).is_visible()
    for selector in ('.bd-sidebar-primary', '.bd-header-article', '.bd-footer-content', '.prev-next-footer', 'a.headerlink'):
        assert not page.locator(selector).first.is_visible(), selector
    assert page.evaluate('getComputedStyle(document.querySelector("article p")).color') == 'rgb(0, 0, 0)'
    assert page.evaluate('getComputedStyle(document.body).backgroundColor') in {'rgb(255, 255, 255)', 'rgba(0, 0, 0, 0)'}


def test_wide_tables_scroll_inside_themselves(visit, book_url):
    page = visit(f'{book_url}/chapter1.html', width=390).page
    for box in page.evaluate("""() => [...document.querySelectorAll('.pst-scrollable-table-container')].map((box) => {
      return {wide: box.scrollWidth > box.clientWidth + 1, focusable: box.tabIndex === 0, inside: box.getBoundingClientRect().right <= innerWidth};
    })"""):
        assert box['inside']
        assert box['focusable'] or not box['wide']


# -- a long page is laid out where it is read --------------------------------------------------------------------------

LONG = 'chapter1/self-attention.html'
LAID_OUT = "one => one.checkVisibility({contentVisibilityAuto: true})"
FAR = '#equation-eq-attn-sensitivity math'


def test_what_is_far_waits_until_it_comes_near(visit, book_url):
    page = visit(f'{book_url}/{LONG}').page
    far, form = page.locator(FAR).first, page.locator('.selftest-form:has(input)')
    assert page.locator('article math').first.evaluate(LAID_OUT)
    assert not far.evaluate(LAID_OUT)
    assert form.count() == 0
    far.scroll_into_view_if_needed()
    page.wait_for_function(f'({LAID_OUT})(document.querySelector("{FAR}"))')
    page.locator('.selftest-form[data-fields]').last.scroll_into_view_if_needed()
    form.last.wait_for()


@pytest.mark.parametrize('width', WIDTHS.values(), ids=WIDTHS)
def test_a_link_within_the_page_lands_on_its_target(visit, book_url, width):
    """Just below the bar, however little of what is above has been laid out; so does a link from elsewhere."""
    top = 'hash => document.querySelector(hash).getBoundingClientRect().top'
    for hash_ in ('#proof-chapter1-self-attention-5', '#ex-attn-scale'):
        page = visit(f'{book_url}/{LONG}', width=width).page
        page.evaluate('hash => { const link = Object.assign(document.createElement("a"), {href: hash}); document.querySelector("article p").append(link); link.click(); }', hash_)
        page.wait_for_timeout(600)
        inside = page.evaluate(top, hash_)
        there = visit(f'{book_url}/{LONG}{hash_}', width=width).page
        there.wait_for_timeout(600)
        assert abs(inside - there.evaluate(top, hash_)) < 3
        assert 60 < inside < 160


@pytest.mark.parametrize('width', WIDTHS.values(), ids=WIDTHS)
def test_nothing_moves_when_a_box_comes_to_be_laid_out(visit, book_url, width):
    """What the style sheet lets wait is as high alone as it is among the others: no margin goes through it."""
    page = visit(f'{book_url}/{LONG}', width=width).page
    moved = page.evaluate("""() => {
      const all = [...document.querySelectorAll('article > section > section *')], text = [...document.querySelectorAll('article section > *')];
      const boxes = all.filter((one) => getComputedStyle(one).contentVisibility === 'auto');
      document.documentElement.classList.remove('lazy');
      const tops = () => text.map((one) => one.getBoundingClientRect().top);
      const before = tops();
      for (const one of boxes) one.style.contain = 'layout paint style';
      const after = tops();
      return [boxes.length, Math.max(...after.map((top, place) => Math.abs(top - before[place])))];
    }""")
    assert moved[0] > 100 and moved[1] < 0.1, moved


def test_paper_has_all_of_it(visit, book_url):
    page = visit(f'{book_url}/{LONG}').page
    page.emulate_media(media='print')
    assert page.locator(FAR).first.evaluate(LAID_OUT)
