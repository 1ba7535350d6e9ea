"""Search, as a reader meets it: on the search page, in a browser. Queries and the section that defines each: ``queries.tsv``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from bench.browser import packed, served, slow_page
from playwright.sync_api import TimeoutError as Late

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECTIONS = 72
TIMED = 5
HITS = '#search-results .search-hits > .hit > a, #search-results ul.search li > a'
DONE = """() => document.querySelector('#search-results .search-status')?.textContent || document.querySelector('#search-results ul.search li a')
  || [...document.querySelectorAll('#search-results .search-summary')].some((one) => /\\d|没有|not match/.test(one.textContent) && !/…/.test(one.textContent))"""
PARTS = re.compile(r'searchindex\.js|searchdata/(?!pages/)')


@dataclass
class Search:
    queries: int
    recall: float
    first_three: float
    first_result: float
    fetched: float
    index: int
    index_72: float
    missed: list[tuple[str, str]] = field(default_factory=list)


def queries() -> list[tuple[str, str]]:
    lines = Path(__file__).with_name('queries.tsv').read_text(encoding='utf-8').splitlines()
    return [tuple(line.split('\t')) for line in lines if line and not line.startswith('#')]


class _Article(HTMLParser):
    """Text of the article, formulas and what the page adds to the author's words left out."""

    SKIPPED = {'math', 'script', 'style', 'svg', 'button', 'nav'}
    ADDED = {'headerlink', 'block-meta', 'check-mark', 'toctree-wrapper'}
    EMPTY = {'img', 'br', 'hr', 'input', 'meta', 'link', 'source', 'wbr', 'col'}

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[bool] = []
        self.inside = 0
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in self.EMPTY:
            return
        classes = set((dict(attributes).get('class') or '').split())
        if tag == 'article' and 'bd-article' in classes:
            self.inside = len(self.stack) + 1
        self.stack.append(bool(tag in self.SKIPPED or classes & self.ADDED))
        if self.stack[-1]:
            self.text.append('\n')

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY and self.stack:
            self.stack.pop()
            if len(self.stack) < self.inside:
                self.inside = 0

    def handle_data(self, data: str) -> None:
        if self.inside and not any(self.stack):
            self.text.append(data)


def texts(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.rglob('*.html'):
        name = str(path.relative_to(folder).with_suffix(''))
        if not name.startswith('_') and name not in {'search', 'genindex', '404'}:
            parser = _Article()
            parser.feed(path.read_text(encoding='utf-8'))
            found[name] = re.sub(r'\s+', ' ', ''.join(parser.text)).lower()
    return found


def asked(page: Page, address: str, query: str) -> list[str]:
    """Pages found, best first, as names."""
    page.goto(f'{address}/search.html?q={quote(query)}')
    try:
        page.wait_for_function(DONE, timeout=4_000)
        page.wait_for_timeout(50)
    except Late:
        return []
    links = page.eval_on_selector_all(HITS, 'links => links.map((link) => link.href)')
    return [unquote(urlsplit(link).path).lstrip('/').removesuffix('.html') for link in links]


def measure(browser: Browser, folder: Path, book: Path) -> Search:
    """``book``: where the text is taken from that decides which pages hold a query."""
    wanted = queries()
    truth = texts(book)
    there = found_there = first = 0
    missed, fetched, times = [], [], []
    index: set[str] = set()  # files asked for, of those that are there: what a search does not fetch costs its reader nothing
    with served(folder) as address:
        page = browser.new_page(locale='zh-CN')
        urls: list[str] = []
        page.on('request', lambda request: urls.append(request.url))
        works = any(asked(page, address, query) for query, _ in wanted[:3])  # else each query would only time out
        index |= {unquote(urlsplit(url).path).lstrip('/') for url in urls if PARTS.search(url)}
        for query, section in wanted if works else []:
            urls.clear()
            hits = asked(page, address, query)
            parts = {unquote(urlsplit(url).path).lstrip('/') for url in urls if PARTS.search(url)}
            fetched.append(sum(packed(folder / part) for part in parts))
            edge = ('(?<![a-z0-9])', '(?![a-z0-9])') if query[0].isascii() else ('', '')
            pattern = re.compile(edge[0] + re.escape(query.lower()) + edge[1])
            pages = {name for name, text in truth.items() if pattern.search(text)}
            there += len(pages)
            found_there += len(pages & set(hits))
            if section in hits[:3]:
                first += 1
            else:
                missed.append((query, section))
        page.close()
        for query, _ in wanted[:: len(wanted) // TIMED][:TIMED] if works else []:
            with slow_page(browser) as page:
                start = time.perf_counter()
                page.goto(f'{address}/search.html?q={quote(query)}', wait_until='commit')
                page.wait_for_selector(HITS)
                times.append(1000 * (time.perf_counter() - start))
    size = sum(packed(folder / part) for part in index)
    sections = len(list((book.parent / 'source').glob('chapter*/*.md')))
    # An upper bound: the vocabulary of new sections is taken to be as new as that of the first ones.
    return Search(
        len(wanted), found_there / there if there else 0, first / len(wanted), median(times or [0]), median(fetched or [0]),
        size, size * SECTIONS / sections, missed,
    )
