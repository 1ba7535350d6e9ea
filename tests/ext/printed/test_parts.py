"""The subject index, the widths of columns and the paper."""

from __future__ import annotations

import re

import pytest
from printed.index import entry
from printed.tables import Size, share
from sphinx.errors import ConfigError

FILES = {
    'index.md': '# 书\n\n```{toctree}\n:numbered: 2\n\none\n```\n\n```{toctree}\n\nterms\n```\n',
    'one.md': """
        # 甲章

        用 {term}`注意力` 与 {term}`键`，再用 {term}`注意力`。

        ```{definition} 因果掩码
        :label: def-mask
        文。
        ```

        | 很长的第一列标题 | 数 |
        |---|---|
        | LONG | 126 |
        """.replace('LONG', '一段很长很长的文字' * 12),
    'terms.md': '# 术语\n\n:::{glossary}\n注意力\n  attention：加权。\n\n键\n值\n  key, value：两组投影。\n:::\n',
}


def test_index_entries_in_pinyin_order_with_english_names(project):
    made = project(['printed'], FILES).build('latex')
    assert made.warnings == ''
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    entries = re.findall(r'\\index\{(.+?)\}(?=[^}])', tex)
    assert entries[:2] == ['zhu yi li@注意力', 'jian@键'], '同一节只收第一次'
    assert r'\index{yin guo yan ma@因果掩码|textbf}' in tex
    assert 'attention@attention|see{注意力}' in entries and 'value@value|see{值}' in entries


def test_what_makeindex_reads_as_syntax_is_quoted():
    assert entry('a@b!').astext() == r'\index{a"@b"!@a"@b"!}'


def test_no_column_is_narrower_than_its_longest_word(project):
    assert share([Size(6, 80), Size(3, 3)], 30) == pytest.approx([26.7, 3.3])
    made = project(['printed'], FILES).build('latex')
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    first, second = map(int, re.search(r'\\X\{(\d+)\}\{\d+\}\\X\{(\d+)\}', tex).groups())
    assert first > 5 * second


def test_paper(project):
    assert 'b5paper' in next(project(['printed'], FILES, printed_paper='b5').build('latex').outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert '9pt' in next(project(['printed'], FILES, printed_paper='b5').build('latex').outdir.glob('*.tex')).read_text(encoding='utf-8')
    with pytest.raises(ConfigError, match='a4、b5'):
        project(['printed'], FILES, printed_paper='a7').build('latex')


def test_small_tables_ask_for_little_room(project):
    made = project(['printed'], FILES).build('latex')
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    lines = int(re.search(r'\\BookNumber\{table\}\{[^}]*\}\\BookTableLines\{(\d+)\}', tex)[1])
    assert 3 <= lines <= 12


def test_a_heading_stays_with_the_table_below_it(project):
    made = project(['printed'], {**FILES, 'terms.md': '# 术语\n\n:::{glossary}\n注意力\n  文。\n\n键\n  文。\n:::\n\n## 只有表\n\n| 甲 | 乙 |\n|---|---|\n| 1 | 2 |\n'}).build('latex')
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert re.search(r'\\BookTableRoom\{5\}\s*\\section\{只有表\}', tex)
    assert tex.count(r'\BookTableLines{0}') == 1


def test_a_line_between_heading_and_table_changes_nothing(project):
    made = project(['printed'], {**FILES, 'terms.md': FILES['terms.md'] + '\n## 一行与表\n\n下表。\n\n| 甲 | 乙 |\n|---|---|\n| 1 | 2 |\n'}).build('latex')
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert re.search(r'\\BookTableRoom\{\d+\}\s*\\section\{一行与表\}', tex)


URLS = {
    'index.md': '# 书\n\n```{toctree}\n:numbered: 2\n\none\ntwo\n```\n',
    'one.md': '# 甲章\n\n见 [官方说明](https://example.org/a_b?x=1)，注。[^own]\n\n原文 <https://example.org/plain>，{torch}`nn.LayerNorm`。\n\n[^own]: 作者的脚注。\n',
    'two.md': '# 乙章\n\n## 见 [标题里](https://example.org/title)\n\n{cite:t}`one2020thing`。\n\n```{bibliography}\n```\n',
    'refs.bib': '@misc{one2020thing, title = {Thing}, author = {One, A}, year = {2020}, eprint = {2001.00001}, archiveprefix = {arXiv}}\n',
}


def test_addresses_that_the_text_does_not_tell_are_footnotes(project):
    made = project(['printed', 'citations', 'torch_api'], URLS, bibtex_bibfiles=['refs.bib'], bibtex_default_style='chinese',
                   bibtex_reference_style='chinese').build('latex')
    assert made.warnings == ''
    tex = next(made.outdir.glob('*.tex')).read_text(encoding='utf-8')
    notes = re.findall(r'\\begin\{footnote(?:text)?\}\[?\{?(\d+)\}?\]?(.*?)\\end\{footnote', tex, flags=re.S)
    assert [(number, found[0]) for number, text in notes if (found := re.findall(r'example\.org/\w+|作者的脚注', text.replace('\\_', '_')))] == [
        ('1', 'example.org/a_b'), ('2', '作者的脚注'), ('1', 'example.org/title')], notes
    assert len(notes) == 3, '写出来的网址、PyTorch 名字与文献不再重复'
