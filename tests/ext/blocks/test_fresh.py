"""An edit and a rebuild, with any number of processes, give byte for byte what a clean build gives; untouched pages stay untouched."""

from __future__ import annotations

import pytest

NEW = """
    :::{exercise} 新题
    :label: ex-a-new
    :kind: derive
    :difficulty: 1
    新题面
    :::

    :::{solution} ex-a-new
    新解答
    :::
    """


def pages(made) -> dict[str, bytes]:
    return {str(path.relative_to(made.outdir)): path.read_bytes() for path in sorted(made.outdir.rglob('*')) if path.suffix in ('.html', '.js', '.inv')}


def edit(made, name, old, new):
    path = made.src / name
    text = path.read_text(encoding='utf-8')
    assert old in text
    path.write_text(text.replace(old, new), encoding='utf-8')


def insert(made):
    edit(made, 'chapter1/a.md', '## 练习\n', '## 练习\n' + '\n'.join(line[4:] for line in NEW.splitlines()) + '\n')


def insert_theorem(made):
    edit(made, 'chapter1/b.md', '# 乙节\n', '# 乙节\n\n:::{corollary}\n:label: cor-b-new\n新推论\n:::\n')


def delete(made):
    text = (made.src / 'chapter1/a.md').read_text(encoding='utf-8')
    start, end = text.index(':::{exercise}\n:label: ex-a-second'), text.index('[^note]: ')
    (made.src / 'chapter1/a.md').write_text(text[:start] + text[end:], encoding='utf-8')


def rename(made):
    edit(made, 'chapter1/a.md', 'ex-a-scale', 'ex-a-renamed')


def retitle(made):
    edit(made, 'chapter1/a.md', '的来历', '的由来')


def move(made):
    name, solution = ':::{exercise} 乙一\n', ':::{solution} ex-b-first\n解。\n:::\n'
    text = (made.src / 'chapter1/b.md').read_text(encoding='utf-8')
    start, end = text.index(name), text.index(solution) + len(solution)
    (made.src / 'chapter1/b.md').write_text(text[:start] + text[end:], encoding='utf-8')
    edit(made, 'chapter2.md', '## 只有一页\n', '## 只有一页\n\n' + text[start:end])


def hide(made):
    edit(made, 'chapter1/a.md', ':label: ex-a-second\n', ':label: ex-a-second\n:hidden:\n')


def drop_page(made):
    (made.src / 'chapter1/b.md').unlink()
    edit(made, 'chapter1.md', 'chapter1/b\n', '')


def reorder(made):
    edit(made, 'chapter1.md', 'chapter1/a\nchapter1/b\n', 'chapter1/b\nchapter1/a\n')


EDITS = [insert, insert_theorem, delete, rename, retitle, move, hide]
STRUCTURAL = [drop_page, reorder]


@pytest.mark.parametrize('parallel', [1, 2])
@pytest.mark.parametrize('change', EDITS)
def test_rebuild_equals_clean_build(small_book, change, parallel):
    made = small_book()
    before = pages(made.build(parallel=parallel))
    change(made)
    rebuilt = made.build(parallel=parallel)
    found, warnings = pages(rebuilt), set(rebuilt.warnings.splitlines())
    clean = made.build(out='clean', fresh=True)
    assert found.keys() >= pages(clean).keys()
    assert [name for name, content in pages(clean).items() if found[name] != content] == []
    assert set(clean.warnings.splitlines()) == warnings
    assert found != before


@pytest.mark.parametrize('change', STRUCTURAL)
def test_contents_follow_when_pages_move(small_book, change):
    """Sphinx leaves links to the neighbouring page as they were; what the page says of blocks must follow all the same."""
    made = small_book().build()
    change(made)
    found, clean = pages(made.build()), pages(made.build(out='clean', fresh=True))

    def content(page: bytes) -> bytes:
        return page.partition(b'<div class="body"')[2].partition(b'<div class="sphinxsidebar"')[0]

    assert content(clean['chapter2.html'])
    assert [name for name in clean if content(found[name]) != content(clean[name])] == []


@pytest.mark.parametrize('parallel', [2, 4])
def test_processes_do_not_show(small_book, parallel):
    made = small_book()
    assert pages(made.build(out='one')) == pages(made.build(out='many', parallel=parallel))


def test_numbers_follow_in_pages_that_did_not_change(small_book):
    """sphinx-exercise leaves the old number in every other file, without a warning."""
    made = small_book().build()
    assert '练习 1.1.1 的解答' in made.read('chapter1/b.html')
    insert(made)
    html = made.build().read('chapter1/b.html')
    assert '练习 1.1.2 的解答' in html and '练习 1.1.1' not in html


def test_only_stale_pages_are_written_again(small_book):
    made = small_book().build()
    stamps = {name: (made.outdir / name).stat().st_mtime_ns for name in ('chapter2.html', 'chapter1/b.html', 'lists.html')}
    insert(made)
    made.build()
    fresh = {name for name, stamp in stamps.items() if (made.outdir / name).stat().st_mtime_ns != stamp}
    assert fresh == {'chapter1/b.html', 'lists.html'}


def test_a_line_added_above_makes_no_other_page_stale(small_book):
    made = small_book().build()
    stamp = (made.outdir / 'chapter1/b.html').stat().st_mtime_ns
    edit(made, 'chapter1/a.md', '设分量独立。', '设分量独立，\n并且零均值。')
    made.build()
    assert (made.outdir / 'chapter1/b.html').stat().st_mtime_ns == stamp


def test_nothing_is_written_when_nothing_changed(small_book):
    made = small_book().build()
    stamps = {path: path.stat().st_mtime_ns for path in made.outdir.rglob('*.html')}
    made.build()
    assert {path: path.stat().st_mtime_ns for path in made.outdir.rglob('*.html') if path.name not in ('genindex.html', 'search.html')} == {
        path: stamp for path, stamp in stamps.items() if path.name not in ('genindex.html', 'search.html')}


def test_the_pickled_environment_holds_facts_only(small_book):
    """sphinx-exercise pickles whole solutions; a doctree node in the environment grows with the book."""
    data = small_book().build().app.env.domaindata['block']

    def walk(value):
        if isinstance(value, dict):
            for pair in value.items():
                yield from walk(pair)
        elif isinstance(value, (list, tuple, set)):
            for one in value:
                yield from walk(one)
        else:
            yield value

    assert {type(one) for one in walk(data)} <= {str, int, bool, type(None)}
