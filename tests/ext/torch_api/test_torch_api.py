"""{torch}, {torch-default} and {torch-index}: what they link, show, record and complain about."""

from __future__ import annotations

import pytest

from torch_api import names

BASE = 'https://docs.pytorch.org/docs/stable/'
TABLE = """\
role\tname\turi
py:function\ttorch.softmax\tgenerated/torch.softmax.html#torch.softmax
py:function\ttorch.nn.functional.softmax\tgenerated/torch.nn.functional.softmax.html#torch.nn.functional.softmax
py:function\ttorch.nn.functional.rms_norm\tgenerated/torch.nn.functional.rms_norm.html#torch.nn.functional.rms_norm
py:class\ttorch.nn.LayerNorm\tgenerated/torch.nn.LayerNorm.html#torch.nn.LayerNorm
py:method\ttorch.Tensor.repeat\tgenerated/torch.Tensor.repeat.html#torch.Tensor.repeat
"""


@pytest.fixture
def book(project, tmp_path, monkeypatch):
    """A project whose known names are TABLE; never on the network unless a test says so."""
    monkeypatch.delenv('TORCH_INVENTORY', raising=False)
    monkeypatch.delenv('READTHEDOCS', raising=False)
    table = tmp_path / 'names.tsv'
    table.write_text(TABLE, encoding='utf-8')

    def make(files, **conf):
        made = project(['torch_api'], files, torch_names=str(table), **conf)
        made.table = table
        return made

    return make


CHAPTERS = {
    'index.md': """
        # 书

        ```{toctree}
        :numbered:
        b
        a
        app
        ```
        """,
    'b.md': """
        # 乙

        ## 其一

        {torch}`nn.LayerNorm` 与 {torch}`nn.functional.softmax`。
        """,
    'a.md': """
        # 甲

        (sec-use)=
        ## 用处

        {torch}`nn.functional.softmax`、{torch}`~Tensor.repeat()`。
        """,
    'app.md': """
        # 索引

        ```{torch-index}
        ```
        """,
}


@pytest.mark.parametrize(('written', 'full', 'shown'), [
    ('nn.functional.softmax', 'torch.nn.functional.softmax', 'torch.nn.functional.softmax'),
    ('torch.nn.LayerNorm', 'torch.nn.LayerNorm', 'torch.nn.LayerNorm'),
    ('softmax', 'torch.softmax', 'torch.softmax'),              # the shorter prefix wins, as in the checking tool
    ('rms_norm()', 'torch.nn.functional.rms_norm', 'torch.nn.functional.rms_norm'),
    ('~nn.LayerNorm', 'torch.nn.LayerNorm', 'LayerNorm'),
    ('Tensor.repeat', 'torch.Tensor.repeat', 'torch.Tensor.repeat'),
    ('层归一化 <nn.LayerNorm>', 'torch.nn.LayerNorm', '层归一化'),
])
def test_forms(book, written, full, shown):
    made = book({'index.md': f'# 书\n\n{{torch}}`{written}`\n'}).build()
    assert not made.warnings
    page = made.read('index.html').replace('<wbr />', '')
    assert f'href="{BASE}generated/{full}.html#{full}"' in page
    assert f'>{shown}<' in page


def test_unknown_name_says_where_and_what_instead(book):
    made = book({'index.md': '# 书\n\n一段。\n\n这里写错了 {torch}`nn.functional.sofmax`。\n'}).build()
    assert made.warning(r'index\.md:5: WARNING: .*nn\.functional\.sofmax.*torch\.nn\.functional\.softmax.*\[torch\.unknown\]')
    assert 'nn.functional.sofmax' in made.read('index.html').replace('<wbr />', '')


@pytest.mark.parametrize('builder', ['text', 'man', 'texinfo', 'latex', 'epub', 'singlehtml', 'dirhtml'])
def test_every_builder(book, builder):
    made = book(CHAPTERS, version='1', latex_documents=[('index', 'book.tex', '书', '', 'manual')]).build(builder)
    assert not [line for line in made.warnings.splitlines() if 'torch' in line or 'unknown' in line.lower()]
    written = ''.join(path.read_text(encoding='utf-8') for path in made.outdir.rglob('*') if path.suffix in {'.txt', '.1', '.texi', '.tex', '.html', '.xhtml'})
    assert 'softmax' in written and 'Tensor' in written


def test_long_names_may_break(book):
    made = book({'index.md': '# 书\n\n{torch}`nn.functional.rms_norm`\n'})
    assert 'torch.<wbr />nn.<wbr />functional.<wbr />rms_<wbr />norm' in made.build().read('index.html')
    latex = made.build('latex', latex_documents=[('index', 'book.tex', '书', '', 'manual')]).read('book.tex')
    assert r'torch.\allowbreak{}nn.\allowbreak{}functional.\allowbreak{}rms\_\allowbreak{}norm' in latex


def test_index_lists_sections_by_module_in_reading_order(book):
    text = book(CHAPTERS).build('text').read('app.txt')
    assert [line.strip('-[] ') for line in text.splitlines() if 'torch' in line] == ['torch', 'torch.nn', 'torch.nn.functional']
    assert 'Tensor.repeat' in text
    row = next(line for line in text.splitlines() if '"softmax"' in line)
    assert row.index('1 乙') < row.index('2 甲')


def test_index_links_to_the_section(book):
    page = book(CHAPTERS).build().read('app.html')
    assert 'href="a.html#sec-use"' in page
    assert f'href="{BASE}generated/torch.Tensor.repeat.html#torch.Tensor.repeat"' in page


def test_index_follows_edits(book):
    made = book(CHAPTERS).build()
    assert 'LayerNorm' in made.read('app.html')
    made.write({'b.md': '# 乙改名\n\n{torch}`nn.functional.softmax`\n'}).build()
    page = made.read('app.html')
    assert 'LayerNorm' not in page
    assert '乙改名' in page
    fresh = book({**CHAPTERS, 'b.md': '# 乙改名\n\n{torch}`nn.functional.softmax`\n'}).build()
    assert fresh.read('app.html') == page


def test_parallel_is_serial(book):
    many = {f'x{i}.md': f'# 第{i}\n\n{{torch}}`softmax` {{torch}}`nn.LayerNorm`\n' for i in range(12)}
    files = {**CHAPTERS, **many}
    files['index.md'] = files['index.md'].replace('app\n', 'app\n' + ''.join(f'        x{i}\n' for i in range(12)))
    serial, parallel = (book(files).build(parallel=n) for n in (1, 4))
    assert serial.read('app.html') == parallel.read('app.html')
    assert '第11' in serial.read('app.html')


def test_registering_a_name_clears_the_warning_without_touching_the_page(book):
    made = book({'index.md': '# 书\n\n{torch}`cumsum`\n'}).build()
    assert made.warning('cumsum')
    made.table.write_text(TABLE + 'py:function\ttorch.cumsum\tgenerated/torch.cumsum.html#torch.cumsum\n', encoding='utf-8')
    made.build()
    assert not made.warnings
    assert 'torch.cumsum.html' in made.read('index.html')


def test_default_role_shows_the_setting_and_checks_its_form(book):
    written = ('nn.LayerNorm eps=1e-5', 'nn.LayerNorm', 'nn.Nothing eps=1')
    made = book({'index.md': '# 书\n\n' + ''.join(f'{{torch-default}}`{text}`\n\n' for text in written)}).build()
    assert '>eps=1e-5<' in made.read('index.html')
    assert made.warning(r'index\.md:5: .*\[torch\.default\]')
    assert made.warning(r'index\.md:7: .*nn\.Nothing.*\[torch\.unknown\]')


def test_live_inventory_is_asked_for_only_when_wanted(book, monkeypatch):
    """The order of places is what makes offline builds instant and live ones safe."""
    files = {'index.md': '# 书\n\n{torch}`softmax`\n'}
    offline = book(files).build()
    assert None not in offline.app.config.intersphinx_mapping['torch'][1][1]
    monkeypatch.setattr('sphinx.ext.intersphinx._load._fetch_inventory_url', unreachable)
    monkeypatch.setenv('TORCH_INVENTORY', 'live')
    live = book(files).build()
    assert live.app.config.intersphinx_mapping['torch'][1][1][0] is None
    assert not live.warnings
    assert 'torch.softmax.html' in live.read('index.html')


def unreachable(**kwargs):
    raise OSError('no network')


def test_live_inventory_wins(book, monkeypatch):
    entries = {name: names.Entry('py:function', uri) for name, uri in (('torch.softmax', 'moved.html#torch.softmax'), ('torch.outer', 'outer.html'))}

    def live(*, target_uri, **kwargs):
        return (names.inventory('torch', entries) if target_uri.startswith(BASE) else names.inventory('torchao', {})), target_uri

    monkeypatch.setattr('sphinx.ext.intersphinx._load._fetch_inventory_url', live)
    monkeypatch.setenv('READTHEDOCS', 'True')
    made = book({'index.md': '# 书\n\n{torch}`softmax` {torch}`outer` {torch}`nn.LayerNorm`\n'}).build()
    assert not made.warnings
    page = made.read('index.html')
    assert f'{BASE}moved.html#torch.softmax' in page
    assert f'{BASE}outer.html' in page
    assert f'{BASE}generated/torch.nn.LayerNorm.html' in page     # vanished from the live one, still committed


def test_inventory_command(tmp_path, capsys):
    from torch_api.inventory import main

    source = tmp_path / 'source'
    source.mkdir()
    text = '{torch}`~softmax` {torch}`文字 <nn.LayerNorm>` {torch-default}`rms_norm eps=None`\n{torch}`nn.Layernorm`\n'
    (source / 'a.md').write_text(text, encoding='utf-8')
    saved = tmp_path / 'all.tsv'
    saved.write_text(TABLE, encoding='utf-8')
    binary = tmp_path / 'objects.inv'
    binary.write_bytes(names.inventory('torch', names.read(saved)))
    results = []
    for file in (saved, binary):
        target = tmp_path / 'names.tsv'
        target.unlink(missing_ok=True)
        assert main(['--from', str(file), '--source', str(source), '--to', str(target)]) == 1
        said = capsys.readouterr().err
        assert 'a.md:2: ' in said
        assert 'torch.nn.LayerNorm' in said
        results.append(target.read_text(encoding='utf-8'))
    assert results[0] == results[1]
    assert set(names.read(target)) == {'torch.softmax', 'torch.nn.LayerNorm', 'torch.nn.functional.rms_norm'}


def test_committed_names_are_those_in_use():
    """The committed table is complete and holds nothing else."""
    from torch_api.inventory import SOURCE

    known = names.read(names.COMMITTED)
    wanted = {mention.target: names.resolve(mention.target, known) for mention in names.mentions(SOURCE)}
    assert [target for target, full in wanted.items() if full is None] == []
    assert set(known) - set(wanted.values()) == set(), '运行 make inventory 去掉不再使用的名字'


def test_links_without_a_role_stay_unambiguous(book):
    """MyST asks every domain about ``[](#…)``; a domain that cannot answer is a warning on every page."""
    made = book({'index.md': '# 书\n\n(here)=\n## 节\n\n[](#here) 与 [](here)\n'}).build()
    assert not made.warnings
