"""Search in a browser: a corpus with known answers, then the book against plain substring search."""

from __future__ import annotations

import gzip
import re
import runpy
from pathlib import Path

import html5lib
import pytest

ROOT = Path(__file__).resolve().parents[2]

CORPUS = {
    'index.md': """
        # 小书

        :::{toctree}
        :numbered:

        uses
        attention
        cache
        decoding
        jacobian
        glossary
        :::
        """,
    'uses.md': """
        # 工程实践

        注意力要算得快，注意力要省显存；缩放因子、KV Cache 与雅可比都会用到，GRPO 训练 8B 模型时尤其如此。注意力图看上去很稀疏。

        ## 归一化放在哪里

        困惑度下降。Transformers with caches are fast.
        """,
    'attention.md': r"""
        (sec-attention)=
        # 自注意力

        **注意**力按相似度加权。缩放因子（scaling factor）把方差变回 1。

        :::{definition} 缩放点积
        :label: def-attn-scaled

        对查询 $q$ 与键 $k$，$\softmax(q^\top k/\sqrt{d_k})$ 的分母是关键。
        :::

        :::{exercise} 方差从何而来
        :label: ex-attn-var
        :kind: compute
        :difficulty: 2

        求点积的方差。
        :::

        :::{solution} ex-attn-var
        由独立性，切比雪夫不等式给出上界，方差为 64。
        :::
        """,
    'cache.md': """
        # KV Cache优化

        键值缓存随长度线性增长。
        """,
    'decoding.md': """
        # 投机解码的验证

        投机解码先起草，再验证。
        """,
    'jacobian.md': r"""
        # 导数

        ## softmax 的雅可比

        它是对角阵减去秩一阵。
        """,
    'glossary.md': """
        # 术语表

        :::{glossary}
        困惑度
          perplexity, PPL：平均负对数似然的指数。

        注意力
          attention：加权求和。

        投机解码
          speculative decoding：先起草后验证。

        键
        值
          key, value：两组投影。
        :::
        """,
}

# query -> (page, kind) that has to come first
FIRST = {
    '注意力': ('glossary.html', '术语'),
    '自注意力': ('attention.html', '正文'),
    '缩放因子': ('attention.html', '正文'),
    'scaling factor': ('attention.html', '正文'),
    'KV Cache优化': ('cache.html', '正文'),
    'kv cache 优化': ('cache.html', '正文'),
    'ＫＶ　Cache': ('cache.html', '正文'),
    'softmax 的雅可比': ('jacobian.html', '正文'),
    'softmax的雅可比': ('jacobian.html', '正文'),
    'GRPO': ('uses.html', '正文'),
    '8B': ('uses.html', '正文'),
    '困惑度': ('glossary.html', '术语'),
    'PPL': ('glossary.html', '术语'),
    'transformer cache': ('uses.html', '正文'),
    '图': ('uses.html', '正文'),
    '缩放点积': ('attention.html', '正文'),
    '方差从何而来': ('attention.html', '练习'),
    '切比雪夫': ('attention.html', '解答'),
    '练习 2.1': ('attention.html', '练习'),
}


@pytest.fixture(scope='module')
def corpus(tmp_path_factory) -> Path:
    from tests.conftest import Project

    values = runpy.run_path(str(ROOT / 'conf.py'))
    look = {name: value for name, value in values.items() if name.startswith('html_')}
    look |= {'templates_path': [str(ROOT / '_templates')], 'html_static_path': [str(ROOT / '_static')], 'html_favicon': str(ROOT / '_static/favicon.svg')}
    extensions = ['mathml', 'blocks', 'sphinx_design', 'search_zh', 'page']
    built = Project(tmp_path_factory.mktemp('corpus'), extensions, **look).write(CORPUS).build()
    assert not built.warnings
    return built.outdir


def ask(page, query: str) -> list[tuple[str, str, str]]:
    """(address, kind, text) of the results on the search page, best first."""
    page.goto(f'{page.url.split("?")[0]}?q={query}')
    page.wait_for_function('document.querySelector("#search-results .search-status")?.textContent')
    return [(hit.query_selector('a').get_attribute('href'), hit.query_selector('.hit-kind').inner_text(), hit.inner_text())
            for hit in page.query_selector_all('#search-results .search-hits > .hit')]


@pytest.mark.parametrize(('query', 'best'), FIRST.items(), ids=list(FIRST))
def test_best_hit(visit, serve, corpus, query, best):
    page = visit(f'{serve(corpus)}/search.html').page
    hits = ask(page, query)
    assert hits, page.inner_text('#search-results .search-status')
    assert (hits[0][0].removeprefix('./').split('#')[0], hits[0][1]) == best, hits


def test_other_names_of_the_glossary_are_searched_too(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/search.html').page
    hits = [(address.removeprefix('./').split('#')[0], kind) for address, kind, _ in ask(page, 'Speculative decoding')]
    assert hits == [('glossary.html', '术语'), ('decoding.html', '正文')]
    assert '包括“投机解码”' in page.inner_text('#search-results .search-status')
    assert page.locator('.hit-title mark').last.inner_text() == '投机解码'
    ask(page, 'key')
    assert '包括“键”' in page.inner_text('#search-results .search-status'), '值是另一个词'


def test_nothing_is_invented(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/search.html').page
    assert ask(page, '量子') == [] and '没有找到' in page.inner_text('#search-results .search-status')
    # both pairs of characters are on the page, the word is not
    assert not [hit for hit in ask(page, '减去雅') if 'jacobian' in hit[0] and '减去雅' in hit[2]]


def test_a_solution_is_found_but_not_told(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/search.html').page
    address, kind, text = ask(page, '切比雪夫')[0]
    assert address.endswith('attention.html#sol-attn-var') and kind == '解答'
    assert '不等式' not in text and '64' not in text
    page.click('.hit-link')
    page.wait_for_url('**/attention.html#sol-attn-var')
    page.wait_for_function('document.getElementById("sol-attn-var").closest("details").open')
    assert page.get_by_text('切比雪夫不等式').is_visible()


def test_the_term_is_marked_in_title_and_snippet(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/search.html').page
    ask(page, '缩放因子')
    assert set(page.locator('.hit-snippet mark').all_inner_texts()) == {'缩放因子'}
    ask(page, '雅可比')
    assert page.locator('.hit-title mark').first.inner_text() == '雅可比'
    assert page.locator('.hit').first.inner_text().find('5.1 softmax 的雅可比') >= 0


def test_one_entry_for_each_page_and_kind(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/search.html').page
    hits = ask(page, '方差')
    seen = [(address.split('#')[0], kind) for address, kind, _ in hits]
    assert len(seen) == len(set(seen))


def test_dialog_by_keyboard_alone(visit, serve, corpus):
    seen = visit(f'{serve(corpus)}/cache.html')
    page = seen.page
    assert not [url for url in seen.urls if 'searchdata' in url], 'the index is fetched before anybody searches'
    page.keyboard.press('Control+k')
    page.keyboard.type('雅可比', delay=20)
    page.wait_for_selector('dialog[open] .hit')
    assert '2 页' in page.inner_text('dialog .search-status')
    page.keyboard.press('ArrowDown')
    assert page.evaluate('document.activeElement.className') == 'hit-link'
    page.keyboard.press('ArrowUp')
    assert page.evaluate('document.activeElement.name') == 'q'
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Enter')
    page.wait_for_url('**/jacobian.html#*')
    assert not seen.errors


def test_enter_in_the_dialog_opens_the_search_page(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/cache.html').page
    page.keyboard.press('Control+k')
    page.keyboard.type('注意力')
    page.keyboard.press('Enter')
    page.wait_for_url('**/search.html?q=*')
    page.wait_for_selector('.hit')
    assert page.input_value('#main-content input[name=q]') == '注意力'


def test_escape_closes_the_dialog_from_a_result(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/cache.html').page
    page.keyboard.press('Control+k')
    page.keyboard.type('注意力')
    page.wait_for_selector('dialog[open] .hit')
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Escape')
    assert not page.evaluate('document.getElementById("pst-search-dialog").open')


def test_a_hit_on_the_same_page_closes_the_dialog(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/jacobian.html').page
    page.keyboard.press('Control+k')
    page.keyboard.type('雅可比')
    page.wait_for_selector('dialog[open] .hit')
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Enter')
    page.wait_for_function('!document.getElementById("pst-search-dialog").open')


def test_unfinished_pinyin_is_not_searched(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/cache.html').page
    page.keyboard.press('Control+k')
    page.evaluate("""() => {
      const input = document.querySelector('dialog input');
      input.value = 'zhu yi';
      input.dispatchEvent(new InputEvent('input', {isComposing: true}));
    }""")
    page.wait_for_timeout(400)
    assert page.inner_text('dialog .search-status') == ''


def test_from_a_file(visit, corpus):
    page = visit((corpus / 'cache.html').as_uri()).page
    page.keyboard.press('Control+k')
    page.keyboard.type('困惑度')
    page.wait_for_selector('dialog[open] .hit')
    assert page.get_attribute('dialog .hit a', 'href').endswith('glossary.html#term-0')


def test_a_page_that_only_seems_to_have_the_word_is_not_shown(visit, serve, corpus):
    """The index errs on one side at times; here on every page."""
    page = visit(f'{serve(corpus)}/search.html').page
    page.route('**/searchdata/index.js', lambda route: route.fulfill(
        content_type='text/javascript', body=(corpus / 'searchdata/index.js').read_text(encoding='utf-8') + 'Set.prototype.has = () => true;'))
    assert {hit[0].removeprefix('./').split('#')[0] for hit in ask(page, '切比雪夫')} == {'attention.html'}
    assert ask(page, '量子色动') == [] and '没有找到' in page.inner_text('#search-results .search-status')


def test_missing_index_is_said(visit, serve, corpus):
    page = visit(f'{serve(corpus)}/cache.html').page
    page.route('**/searchdata/index.js', lambda route: route.abort())
    page.keyboard.press('Control+k')
    page.keyboard.type('困惑度')
    page.wait_for_function('document.querySelector("dialog .search-status").textContent.includes("没有载入")')


def test_browser_and_build_split_words_alike(visit, serve, corpus):
    """Each word of a query, as the browser splits it, is among those the build indexed for the same text."""
    from search_zh.language import HanSearch

    page = visit(f'{serve(corpus)}/search.html?q=x').page
    page.wait_for_function('typeof splitQuery === "function"')
    language = HanSearch({})
    for text in ['KV Cache优化', 'softmax 的雅可比', 'ＧＲＰＯ　８Ｂ', 'μP、x² 与 d_model', '图', '𝒙 ℝ', 'naïve Σ-algebra', 'scaled_dot_product_attention']:
        words = page.evaluate('(text) => [splitQuery(text), splitQuery(text).map((word) => new Stemmer().stemWord(word.toLowerCase()))]', text)
        assert set(words[0]) <= set(language.split(text)), text
        assert words[1] == [language.stem(word) for word in words[0]], text


# -- the book ----------------------------------------------------------------------------------------------------------

QUERIES = [
    '注意力', '缩放因子', '自注意力', '因果掩码', '残差流', '键值缓存', '困惑度', '雅可比', '秩塌缩', '多头注意力', '层归一化', '旋转位置编码',
    'softmax', 'RoPE', 'FlashAttention', 'KV cache', '方差', '梯度', '显存', '熵', '推导', 'token', '分词器',
]


@pytest.fixture(scope='module')
def texts(book) -> dict[str, str]:
    """Page -> what its article says, without formulas."""
    found = {}
    for shard in (book / 'searchdata/pages').rglob('*.js'):
        name = str(shard.relative_to(book / 'searchdata/pages').with_suffix('.html'))
        tree = html5lib.parse((book / name).read_text(encoding='utf-8'), namespaceHTMLElements=False)
        article = next(node for node in tree.iter('article') if 'bd-article' in node.get('class', ''))
        found[name] = re.sub(r'\s+', ' ', ''.join(words(article))).lower()
    return found


ADDED = {'headerlink', 'block-meta', 'check-mark', 'toctree-wrapper'}


def words(node):
    """Text of a page without formulas (searched as characters), list numbers and the labels that blocks and marks add to it."""
    if node.tag in {'math', 'script', 'style', 'svg', 'button'} or ADDED & set(node.get('class', '').split()):
        yield '\n'
    else:
        yield node.text or ''
        for child in node:
            yield from words(child)
    yield node.tail or ''


@pytest.mark.parametrize('query', QUERIES)
def test_recall_on_the_book(visit, book_url, texts, query):
    """Truth: the string is on the page; of a Latin word, as a word and not a part of one."""
    edge = ('(?<![a-z0-9])', '(?![a-z0-9])') if query[0].isascii() else ('', '')
    truth = re.compile(edge[0] + re.escape(query.lower()) + edge[1])
    wanted = {page for page, text in texts.items() if truth.search(text)}
    page = visit(f'{book_url}/search.html').page
    found = {address.removeprefix('./').split('#')[0] for address, *_ in ask(page, query)}
    assert wanted <= found, wanted - found


def test_the_defining_section_is_among_the_first_three(visit, book_url):
    """Over the queries of `make bench`; of a hundred, five may fail."""
    wanted = [line.split('\t') for line in (ROOT / 'tools/bench/queries.tsv').read_text(encoding='utf-8').splitlines() if not line.startswith('#')]
    assert len(wanted) >= 60
    page = visit(f'{book_url}/search.html').page
    missed = []
    for query, section in wanted:
        first = [address.removeprefix('./').split('.html')[0] for address, *_ in ask(page, query)[:3]]
        if section not in first:
            missed.append((query, section, first))
    assert len(missed) <= 0.05 * len(wanted), missed


def test_the_glossary_answers_among_the_first_three(visit, book_url):
    page = visit(f'{book_url}/search.html').page
    for query in ['注意力', '缩放因子', '因果掩码', '困惑度']:
        hits = ask(page, query)[:3]
        assert any(kind == '术语' and query in text for _, kind, text in hits), hits


def test_index_is_small(book):
    """Extrapolated by sections to the whole book, as `make bench` does."""
    sections = len(list((ROOT / 'source').glob('chapter*/*.md')))
    size = len(gzip.compress((book / 'searchdata/index.js').read_bytes()))
    assert size * 72 / sections <= 1024 * 1024
