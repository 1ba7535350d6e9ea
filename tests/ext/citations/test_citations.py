"""Citations in the text, the bibliography, the works of a chapter, and the warnings."""

from __future__ import annotations

import re

import pytest

BIB = r'''
@inproceedings{vaswani2017attention,
  title = {{Attention Is All You Need}},
  author = {Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and others},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {30},
  year = {2017},
  eprint = {1706.03762},
  archiveprefix = {arXiv},
}

@article{press2021train,
  title = {{Train Short, Test Long}},
  author = {Press, Ofir and {van den Oord}, A\"aron},
  journal = {Journal of Things},
  volume = {3}, number = {2}, pages = {1--20},
  year = {2021},
  doi = {10.1000/xyz},
}

@misc{team2023first, title = {{Alpha?}}, author = {{Team One}}, year = {2023}, url = {https://example.org/alpha}}
@misc{team2023second, title = {{Beta of $\mu$P}}, author = {{Team One}}, year = {2023}, eprint = {2301.00001}, archiveprefix = {arXiv}}
@book{wang2020book, title = {语言模型}, author = {王, 某 and 李, 四}, publisher = {出版社}, year = {2020}}
'''

FILES = {
    'index.md': '# 书\n\n```{toctree}\none\ntwo\nbib\n```\n',
    'one.md': '# 章一\n\n```{toctree}\none/a\n```\n\n## 文献\n\n```{chapter-references}\n```\n',
    'one/a.md': '# 节\n\n见 {cite:t}`vaswani2017attention`。\n\n又见 {cite:p}`vaswani2017attention,press2021train`。\n\n'
                '{cite:t}`press2021train`，{cite:t}`wang2020book`。\n',
    'two.md': '# 章二\n\n见 {cite:t}`team2023first` 与 {cite:p}`team2023second`；{cite:t}`vaswani2017attention`。\n\n'
              '```{chapter-references}\n```\n',
    'bib.md': '# 参考文献\n\n```{bibliography}\n```\n',
    'refs.bib': BIB,
}
CONFIG = {
    'version': '1', 'bibtex_bibfiles': ['refs.bib'], 'bibtex_default_style': 'chinese', 'bibtex_reference_style': 'chinese',
    'bibtex_cite_id': 'cite-{key}', 'bibtex_bibliography_id': 'references-{bibliography_count}',
}


@pytest.fixture
def book(project):
    return project(['citations'], FILES, **CONFIG)


def text(html):
    return re.sub(r'\s+', ' ', re.sub('<[^>]+>', '', html))


def test_author_and_year_in_the_text(book):
    html = book.build('html').read('one/a.html')
    assert not book.warnings
    assert '见 Vaswani 等（2017）。' in text(html)
    assert '（Vaswani 等，2017；Press 与 van den Oord，2021）' in text(html)
    assert 'Press 与 van den Oord（2021），王与李（2020）' in text(html)
    link = re.search(r'<a class="reference internal" href="\.\./bib\.html#cite-vaswani2017attention"[^>]*>(.*?)</a>', html)
    assert link[1] == 'Vaswani 等（2017）', 'the whole citation is the link'
    assert 'id="cite-vaswani2017attention"' in book.read('bib.html')


def test_no_blank_beside_full_width_brackets(project):
    made = project(
        ['citations', 'zh_typography'],
        {**FILES, 'one/a.md': '# 节\n\n见 {cite:t}`vaswani2017attention` 与 {cite:p}`vaswani2017attention,press2021train` 等 {cite:p}`wang2020book` 。\n'},
        **CONFIG,
    )
    assert '见 Vaswani 等（2017）与（Vaswani 等，2017；Press 与 van den Oord，2021）等（王与李，2020）。' in text(made.build('html').read('one/a.html'))


def test_works_of_one_year_are_told_apart(book):
    html = text(book.build('html').read('two.html'))
    assert 'Team One（2023a）' in html
    assert '（Team One，2023b）' in html
    bibliography = text(book.read('bib.html'))
    assert 'Team One（2023a）。Alpha? https://example.org/alpha。' in bibliography
    assert 'Team One（2023b）。Beta of' in bibliography


def test_entries(book):
    html = book.build('html').read('bib.html')
    plain = text(html)
    assert 'Vaswani A、Shazeer N、Parmar N 等（2017）。Attention Is All You Need。Advances in Neural' in plain
    assert 'Information Processing Systems 30。arXiv:1706.03762。' in plain
    assert 'Press O、van den Oord A（2021）。Train Short, Test Long。Journal of Things 3（2），1–20。doi:10.1000/xyz。' in plain
    assert '王某、李四（2020）。语言模型。出版社。' in plain
    assert 'href="https://arxiv.org/abs/1706.03762"' in html
    assert 'href="https://doi.org/10.1000/xyz"' in html
    assert plain.index('Press O') < plain.index('Team One') < plain.index('Vaswani A')
    assert '[Vaswani' not in plain, 'no label before an entry that begins with it'


def test_a_chapter_lists_what_it_cites(book):
    html = book.build('html').read('one.html')
    assert 'Attention Is All You Need' in html
    assert 'Train Short' in html
    assert 'Alpha' not in html
    assert 'Alpha' in book.read('two.html')
    assert 'Train Short' not in book.read('two.html')
    everything = ''.join(book.read(name) for name in ('one.html', 'two.html', 'one/a.html', 'bib.html'))
    assert len(re.findall('id="cite-vaswani2017attention"', everything)) == 1


@pytest.mark.parametrize('builder', ['epub', 'text', 'latex', 'man', 'texinfo', 'gettext', 'singlehtml', 'dirhtml'])
def test_every_builder_without_warning(book, builder):
    book.build(builder)
    assert not book.warnings


def test_print_has_entries_once_and_links_to_them(book):
    book.build('latex')
    tex = next(book.outdir.glob('*.tex')).read_text(encoding='utf-8')
    assert '见\\ \\protect\\hyperlink{cite.bib:cite-team2023first}{Team One' in tex
    entries = tex[tex.rindex('cite.bib:cite-press2021train'):]
    assert entries.count('Attention Is All You Need') == 1
    for chapter in re.findall(r'\\begin\{multicols\}\{2\}.*?\\end\{multicols\}', tex, flags=re.S):
        assert chapter.count(r'\hangindent') == chapter.count(r'\protect\hyperlink') > 1, '每条文献一段'
        assert 'Attention Is All You Need' in chapter
    assert tex.count('\\hypertarget{cite.bib:cite-vaswani2017attention}') == 1
    assert tex.count('\\protect\\hyperlink{cite.bib:cite-vaswani2017attention}') == 5       # three in the text, one for each chapter


def test_warnings(book):
    book.write({
        'two.md': '# 章二\n\n{cite:t}`team2023first` 与 {cite:p}`team2023second`。\n\n{cite:t}`vaswani2017atention`\n',
        'refs.bib': BIB + '@misc{spare2020thing, title={x}, author={B, A}, year={2020}}\n',
        'more.bib': '@misc{press2021train, title={x}, author={B, A}, year={2020}}\n',
    }).build('html', bibtex_bibfiles=['refs.bib', 'more.bib'])
    assert book.warning(r'two\.md:5: WARNING: 没有文献“vaswani2017atention”，是不是 vaswani2017attention \[citations\.undefined\]')
    assert book.warning(r'refs\.bib:23: WARNING: 文献“spare2020thing”没有被引用.*\[citations\.unused\]')
    assert book.warning(r'more\.bib:1: WARNING: 文献“press2021train”已在 refs\.bib 第 11 行定义.*\[citations\.duplicate\]')


def test_pages_follow_a_new_citation(book):
    book.write({'two.md': '# 章二\n\n{cite:t}`team2023first`。\n\n```{chapter-references}\n```\n', 'one/b.md': '# 乙\n\n甲。\n',
                'one.md': FILES['one.md'].replace('one/a', 'one/a\none/b')}).build('html')
    assert 'Team One（2023）' in text(book.read('two.html'))
    book.write({'one/b.md': '# 乙\n\n{cite:t}`team2023second`。\n'}).build('html')
    assert 'Team One（2023a）' in text(book.read('two.html')), 'the label of another page changed'
    assert 'Beta' in book.read('one.html')
    assert 'Beta' in book.read('bib.html')


def test_a_new_file_of_works_is_taken_in(book):
    book.build('html', bibtex_bibfiles=['refs.bib'])
    book.write({'more.bib': '@misc{late2024work, title={Gamma}, author={Late, A}, year={2024}}\n', 'two.md': '# 二\n\n见 {cite:t}`late2024work`。\n'})
    book.build('html', bibtex_bibfiles=['refs.bib', 'more.bib'])
    assert '见 Late（2024）。' in text(book.read('two.html'))
    assert 'Gamma' in book.read('bib.html')


def test_parallel_equals_serial(book):
    more = {f'p{number}.md': f'# 页 {number}\n\n{{cite:p}}`team2023second,vaswani2017attention`\n' for number in range(8)}
    book.write({**more, 'index.md': '# 书\n\n```{toctree}\none\ntwo\n' + ''.join(f'p{number}\n' for number in range(8)) + 'bib\n```\n'})
    book.build('html', out='serial').build('html', out='parallel', parallel=2)
    for name in ('one.html', 'two.html', 'bib.html', 'p5.html'):
        assert (book.out / 'serial' / name).read_bytes() == (book.out / 'parallel' / name).read_bytes()


def test_link_is_named_after_the_work(book):
    html = book.build('html').read('one/a.html')
    assert 'title="Attention Is All You Need"' in html
    assert 'Neural Information' not in html
