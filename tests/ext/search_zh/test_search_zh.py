"""The words of the index, what a page offers to the search, and that the files do not depend on how they were built."""

from __future__ import annotations

import base64
import json
import re

import pytest

from search_zh.language import HanSearch
from search_zh.sets import BITS, digest, encode

PAGES = {
    'index.md': """
        # 小书

        ```{toctree}
        :numbered:

        attention
        uses
        ```
        """,
    'attention.md': r"""
        (sec-attn)=
        # 自注意力

        模型用自**注意力**机制取回信息。缩放因子（scaling factor）是 $\sqrt{d_k}$，见 $\softmax(QK^\top)$。

        ## 掩码

        令位置看不见将来。

        :::{definition} 因果掩码
        :label: def-attn-mask

        下三角的掩码。
        :::

        :::{exercise} 方差
        :label: ex-attn-var
        :kind: compute
        :difficulty: 1

        求方差。
        :::

        :::{solution} ex-attn-var
        关键在独立性。
        :::
        """,
    'uses.md': """
        # 用到注意力的地方

        :::{glossary}
        键值缓存
          KV cache, KVC：解码时保存的键与值。
        :::
        """,
}


@pytest.fixture
def book(project):
    return project(['mathml', 'blocks', 'search_zh'], PAGES)


def records(built, page: str) -> list[dict]:
    return json.loads('[' + re.fullmatch(r'bookSearch\.page\((.*)\)\n', built.read(f'searchdata/pages/{page}.js'))[1] + ']')[1]


def index(built) -> dict:
    return json.loads(re.fullmatch(r'bookSearch\.index\((.*)\)\n', built.read('searchdata/index.js'))[1])


def members(coded: list) -> set[int]:
    """A coded set read back, bit by bit, without the code that wrote it."""
    _, text = coded
    bits = ''.join(f'{byte:08b}' for byte in base64.b64decode(text))
    found, value = set(), -1
    for ones, rest in re.findall(f'(1*)0([01]{{{BITS}}})', bits):
        value += (len(ones) << BITS) + int(rest, 2) + 1
        found.add(value)
    return found


def has(built, word: str) -> bool:
    """Whether any page of the index seems to have the word."""
    return any(digest(word) * (page[4][0] << BITS) >> 32 in members(page[4]) for page in index(built)['pages'])


def files(built) -> dict[str, bytes]:
    folder = built.outdir / 'searchdata'
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.js')}


@pytest.mark.parametrize(('text', 'words'), [
    ('注意力', '注 意 力 注意 意力'),
    ('KV Cache优化', 'KV Cache 优 化 优化'),
    ('softmax 的雅可比', 'softmax 的 雅 可 比 的雅 雅可 可比'),
    ('GRPO、８Ｂ', 'GRPO 8B'),
    ('d_model，x²', 'd model x²'),
])
def test_words(text, words):
    assert HanSearch({}).split(text) == words.split()


def test_latin_words_are_stemmed_and_chinese_ones_are_not():
    language = HanSearch({})
    assert language.stem('Transformers') == language.stem('transformer')
    assert language.stem('意力') == '意力'


def test_sphinx_uses_this_language_for_zh_cn(book):
    built = book.build()
    assert 'ChineseStemmer' not in built.read('_static/language_data.js')
    assert 'function splitQuery' in built.read('_static/language_data.js')
    assert '"\\u6ce8\\u610f"' in built.read('searchindex.js')


def test_a_word_partly_in_bold_stays_one_word(book):
    built = book.build()
    assert '自注意力机制' in records(built, 'attention')[0]['text']
    assert has(built, '自注') and has(built, '力机')


def test_formulas_are_characters_not_tex(book):
    text = records(book.build(), 'attention')[0]['text']
    assert 'softmax' in text and '√' in text
    assert '\\' not in text and 'sqrt' not in text


def test_records_of_a_page(book):
    found = {record['title']: record for record in records(book.build(), 'attention')}
    assert [(one['kind'], one['anchor'], one['number'], one['level']) for one in found.values()] == [
        ('text', '', '1', 1), ('text', found['掩码']['anchor'], '1.1', 2), ('statement', 'def-attn-mask', '定义 1.1.1', 0),
        ('exercise', 'ex-attn-var', '练习 1.1.1', 0), ('solution', 'sol-attn-var', '练习 1.1.1 的解答', 0),
    ]
    assert found['自注意力']['names'] == ['缩放因子', 'scaling factor']
    assert '独立性' not in found['方差']['text']


def test_a_glossary_entry_is_known_by_all_its_names(book):
    term = next(record for record in records(book.build(), 'uses') if record['kind'] == 'term')
    assert term['title'] == '键值缓存'
    assert {'KV cache', 'KVC'} <= set(term['names'])


def test_pages_are_in_the_order_of_the_book(book):
    assert [page[0] for page in index(book.build())['pages']] == ['index', 'attention', 'uses']


def test_serial_parallel_and_incremental_builds_agree(book):
    book.build(out='incremental')
    book.write({'attention.md': PAGES['attention.md'].replace('掩码', '遮罩')}).build(out='incremental')
    incremental = files(book)
    assert incremental == files(book.build(out='serial')) == files(book.build(out='parallel', parallel=2))
    assert '遮罩' in book.read('searchdata/pages/attention.js')


def test_a_page_that_is_gone_is_not_found(book):
    book.build()
    (book.src / 'uses.md').unlink()
    book.write({'index.md': PAGES['index.md'].replace('        uses\n', '')}).build()
    assert 'pages/uses.js' not in files(book)
    assert not has(book, '键值')


def test_lost_records_come_back(book):
    book.build()
    (book.outdir / 'searchdata/pages/uses.js').unlink()
    assert has(book.build(), '键值')


def test_no_search_page_stays_out(book):
    built = book.write({'uses.md': '---\nno-search: true\n---\n' + '# 用到\n\n隐藏的词\n'}).build()
    assert not has(built, '隐藏')


def test_an_epub_carries_no_search(book):
    built = book.build('epub')
    assert not (built.outdir / 'searchdata').exists()
    assert 'search_zh' not in built.read('attention.xhtml')


@pytest.mark.parametrize('count', [0, 1, 2, 7, 3000])
def test_a_coded_set_has_its_words_and_few_others(count):
    words = [f'词{number}' for number in range(count)]
    coded = encode(words)
    found = members(coded)
    assert coded[0] == count
    assert all(digest(word) * (count << BITS) >> 32 in found for word in words)
    strangers = [f'字{number}' for number in range(4000)]
    seeming = sum(digest(word) * (count << BITS) >> 32 in found for word in strangers)
    assert seeming <= 2 * len(strangers) / 2**BITS
    assert len(coded[1]) * 6 <= (BITS + 2) * count + 16
