"""{pyfigure}: numbering, files, cache, determinism, and what it says when something is wrong."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from pypdf import PdfReader

SCRIPT = """
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

NOISE = np.random.default_rng(0).normal(size=50)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    data = Path(__file__).with_suffix('.json')
    scale = json.loads(data.read_text()) if data.exists() else 1
    ax.plot(scale * np.cumsum(NOISE), label='随机游走')
    ax.fill_between(range(50), 0, np.cumsum(np.random.rand(50)), color=style.tint('C1'))
    ax.plot(np.cumsum(NOISE[::-1]), '--', label='$x_t$')
    ax.set_xlabel('步数 $t$')
    style.label_ends(ax)
    return fig
"""
PAGE = """
    # 书

    ## 节

    见 {numref}`fig-walk`，[](#fig-walk)。

    :::{pyfigure} chapter1/walk
    :name: fig-walk
    :alt: 两条随机游走，“甲” < 乙。

    **看什么**：漂移，见 {numref}`fig-walk`。

    图例一段。
    :::
    """


@pytest.fixture(scope='session')
def cache(tmp_path_factory):
    """Shared by tests that do not ask how the cache works: drawing takes seconds."""
    return tmp_path_factory.mktemp('figures')


@pytest.fixture
def book(project, cache):
    def make(page=PAGE, scripts=None, **conf):
        made = project(['pyfigure'], {'index.md': page}, pyfigure_path='figures', **{'pyfigure_cache': str(cache), **conf})
        return made.write({f'figures/{name}': text for name, text in (scripts or {'chapter1/walk.py': SCRIPT}).items()})

    return make


def only(folder: Path, pattern: str) -> Path:
    [found] = folder.glob(pattern)
    return found


def use(name: str = 'chapter1/a') -> str:
    return f'# 书\n\n:::{{pyfigure}} {name}\n:name: fig-a\n:alt: 图\n\n说明。\n:::\n'


def test_page(book):
    made = book().build()
    assert not made.warnings
    page = made.read('index.html')
    figure = re.search(r'<figure.*?</figure>', page, re.DOTALL)[0]
    light, dark = re.findall(r'<img [^>]*>', figure)
    for image, variant in ((light, 'light'), (dark, 'dark')):
        assert f'class="only-{variant}"' in image
        assert 'alt="两条随机游走，“甲” &lt; 乙。"' in image
        assert 'loading="lazy"' in image
        assert 'width="557" height="317"' in image
        assert (made.outdir / re.search(r'src="([^"]+)"', image)[1]).exists()
    assert 'figure.css' in page and (made.outdir / '_static/figure.css').exists()
    assert figure.count('图 1') == 2         # the caption's number, and the reference inside the caption
    assert '<strong>看什么</strong>' in figure
    assert 'href="#fig-walk"' in page
    assert figure.index('</figcaption>') > figure.index('图例一段') > figure.index('class="legend"')


def test_svg(book, cache):
    book().build()
    light, dark = (only(cache, f'chapter1-walk-*-{variant}.svg').read_text(encoding='utf-8') for variant in ('light', 'dark'))
    shapes = [re.findall(' (?:d|x|y|transform)="[^"]*"', svg) for svg in (light, dark)]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 50       # same picture, noise included …
    assert '#1a56c4' in light and '#1a56c4' not in dark         # … in other colours
    tree = ET.fromstring(light)
    assert not [e for e in tree.iter() if e.tag.endswith('}text')], 'text would need fonts that an <img> cannot load'
    assert not re.search(r'\d{4}-\d\d-\d\d|<metadata|<!--', light)
    assert len(light) < 60_000


def test_pdf_carries_its_fonts_and_text(book, cache):
    book().build()
    page = PdfReader(only(cache, 'chapter1-walk-*-print.pdf')).pages[0]
    text = page.extract_text()
    assert '随机游走' in text and '步数' in text
    fonts = [font.get_object() for font in page['/Resources']['/Font'].values()]
    assert fonts and all(font['/Subtype'] == '/Type3' for font in fonts)                # outlines inside the file
    assert {'/CreationDate', '/ModDate'}.isdisjoint(PdfReader(only(cache, 'chapter1-walk-*-print.pdf')).metadata or {})


@pytest.mark.parametrize('builder', ['singlehtml', 'dirhtml', 'epub', 'latex', 'text', 'man', 'texinfo'])
def test_builders(book, builder):
    made = book(version='1', epub_identifier='x', latex_documents=[('index', 'book.tex', '书', '', 'manual')],
                man_pages=[('index', 'book', '书', '', 1)], texinfo_documents=[('index', 'book', '书', '', 'book')]).build(builder)
    assert 'pyfigure' not in made.warnings and 'image' not in made.warnings
    if builder == 'latex':
        name = re.search(r'\\sphinxincludegraphics\{\{(chapter1-walk-\w+-print)\}\.pdf\}', made.read('book.tex'))[1]
        assert (made.outdir / f'{name}.pdf').exists()
        assert r'\label{\detokenize{index:fig-walk}}' in made.read('book.tex')
    elif builder == 'epub':
        assert re.findall('src="(.*?)"', re.search('<figure.*?</figure>', made.read('index.xhtml'), re.DOTALL)[0]) == \
            [f'_images/{path.name}' for path in (made.outdir / '_images').iterdir()]
        assert 'dark' not in made.read('content.opf')
    else:
        name = {'singlehtml': 'index.html', 'dirhtml': 'index.html', 'text': 'index.txt', 'man': 'book.1', 'texinfo': 'book.texi'}[builder]
        assert '两条随机游走' in made.read(name) and '漂移' in made.read(name)


def test_width(book):
    page = PAGE.replace(':alt:', ':width: 60%\n    :alt:')
    assert 'style="width: 60%"' in book(page).build().read('index.html')
    tex = book(page).build('latex', latex_documents=[('index', 'book.tex', '书', '', 'manual')]).read('book.tex')
    assert r'\sphinxincludegraphics[width=0.600\linewidth]' in tex


def test_wide_figures_scroll_on_a_phone(book):
    wide = SCRIPT.replace('style.WIDE', 'style.PANELS')
    made = book(scripts={'chapter1/walk.py': wide}).build()
    assert re.search(r'<div class="pyfigure-frame" tabindex="0"><img [^>]*min-width: 422px', made.read('index.html'))


def test_same_bytes_whatever_the_order(book, tmp_path):
    """Twice, in other company, serial and parallel reading."""
    scripts = {'chapter1/walk.py': SCRIPT, 'chapter1/a.py': 'import matplotlib\nmatplotlib.rcParams["lines.linewidth"] = 9\n' + SCRIPT}
    alone = book(pyfigure_cache=str(tmp_path / 'one')).build()
    together = book(PAGE + use().split('\n', 1)[1].replace('\n', '\n    '), scripts, pyfigure_cache=str(tmp_path / 'two')).build(parallel=2)
    names = sorted(path.name for path in (tmp_path / 'one').iterdir())
    assert len(names) == 3
    for name in names:
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()
    one, two = (re.search('<figure.*?</figure>', made.read('index.html'), re.DOTALL)[0] for made in (alone, together))
    assert one == two


def test_cache(book, tmp_path):
    store = tmp_path / 'cache'
    made = book(pyfigure_cache=str(store)).build()
    stamps = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    made.build(fresh=True)
    assert {path: path.stat().st_mtime_ns for path in store.iterdir()} == stamps        # nothing drawn twice

    def picture():
        return re.search(r'_images/chapter1-walk-(\w+)-light', made.read('index.html'))[1]

    seen = {picture()}
    for file, text in (('chapter1/walk.json', '3'), ('chapter1/walk.py', SCRIPT + '\n# changed\n'), ('shared.py', 'x = 1\n')):
        made.write({f'figures/{file}': text}).build()                                                      # the page itself is untouched
        assert not made.warnings
        assert picture() not in seen
        assert (made.outdir / '_images' / f'chapter1-walk-{picture()}-light.svg').exists()
        seen.add(picture())
    for path in store.iterdir():
        path.unlink()
    made.build()
    assert list(store.glob(f'chapter1-walk-{picture()}-*'))


@pytest.mark.parametrize(('script', 'line', 'said'), [
    ('import numpy as np\n\n\ndef figure():\n    return np.zeros(3)[5]\n', 5, 'IndexError'),
    ('def figure():\n    return 1 +\n', 2, 'SyntaxError'),
    ('x = 1\n', None, r'没有定义函数 figure\(\)'),
    ('def figure():\n    return 3\n', None, 'matplotlib.figure.Figure.*int'),
    ('raise SystemExit\n', 1, 'SystemExit'),
    ("import matplotlib.pyplot as plt\ndef figure():\n    f, a = plt.subplots()\n    a.set_title('\\U0001F600')\n    return f\n", None, 'missing from font'),
])
def test_broken_scripts(book, script, line, said):
    made = book(use(), {'chapter1/a.py': script}).build()
    at = f' 第 {line} 行' if line else ''
    assert made.warning(rf'index\.md:3: ERROR: 图脚本 figures/chapter1/a\.py{at}出错：.*{said}.*\[pyfigure\.script\]')
    assert '图' in made.read('index.html')
    assert made.build().warning('pyfigure.script'), 'the error must not vanish with the next build'


def test_missing_script(book):
    made = book(use('chapter1/wlak')).build()
    assert made.warning(r'index\.md:3: WARNING: 没有图脚本 figures/chapter1/wlak\.py；是否想写 chapter1/walk？ \[pyfigure\.missing\]')


def test_missing_parts(book):
    made = book('# 书\n\n:::{pyfigure} chapter1/walk\n:name: fig-walk\n:::\n').build()
    assert made.warning(r'index\.md:3: .*:alt:.*\[pyfigure\.alt\]')
    assert made.warning(r'index\.md:3: .*说明.*\[pyfigure\.caption\]')


def test_unused_scripts(book):
    made = book(scripts={'chapter1/walk.py': SCRIPT, 'chapter2/forgotten.py': SCRIPT, 'chapter2/_shared.py': 'x = 1\n'}).build()
    assert made.warning(r'figures/chapter2/forgotten\.py.*\[pyfigure\.unused\]')
    assert '_shared' not in made.warnings
