"""The two builds, from copies of the sources, with their times."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.table import Row

ROOT = Path(__file__).resolve().parents[2]
OURS = {'mathml', 'search_zh', 'page'}  # what the stock build goes without
JOBS = '2'

# Added to the book's own conf.py; the macros are the book's, in MathJax's form.
STOCK = f'''
extensions = [name for name in extensions if name not in {OURS!r}] + ['sphinx.ext.mathjax', 'sphinx-mathjax-offline']
html_math_renderer = 'mathjax'
from mathml.macros import for_mathml
def _mathjax(name, text):
    count = max([0, *(int(digit) for digit in __import__('re').findall(r'#(\\d)', text))])
    return [text, count] if count else text
mathjax3_config = {{'tex': {{'macros': {{name: _mathjax(name, text) for name, text in for_mathml().items()}}}}}}
templates_path = []
html_css_files = []
html_favicon = None
html_sidebars = {{}}
html_theme_options = {{}}
'''


@dataclass
class Build:
    root: Path
    html: Path
    cold: float = 0
    edit: float = 0
    math: float = 0  # seconds of the cold build spent on formulas
    sections: int = 0


def make(folder: Path, page: str) -> dict[str, Build]:
    both = {name: copy(folder / name) for name in ('book', 'stock')}
    conf = both['stock'].root / 'conf.py'
    conf.write_text(conf.read_text(encoding='utf-8') + STOCK, encoding='utf-8')
    # Figures are drawn and modules compiled before anything is timed.
    sphinx(both['book'], 'html', folder / 'warm', folder / 'warm-doctrees')
    for build in both.values():
        build.cold = sphinx(build, 'html', build.html)
        build.sections = len(list((build.root / 'source').glob('chapter*/*.md')))
        source = build.root / f'source/{page}.md'
        source.write_text(source.read_text(encoding='utf-8') + '\n这一句是为计时而加的。\n', encoding='utf-8')
        build.edit = sphinx(build, 'html', build.html)
    both['book'].math = formulas(both['book'])
    return both


def copy(root: Path) -> Build:
    root.mkdir()
    shutil.copytree(ROOT / 'source', root / 'source')
    for name in ('_ext', '_static', '_templates', 'figures', 'tests', '.git'):
        (root / name).symlink_to(ROOT / name)
    (ROOT / '_build/figures').mkdir(parents=True, exist_ok=True)
    (root / '_build').mkdir()
    (root / '_build/figures').symlink_to(ROOT / '_build/figures')
    shutil.copy(ROOT / 'conf.py', root / 'conf.py')
    return Build(root, root / 'html')


def sphinx(build: Build, builder: str, out: Path, doctrees: Path | None = None) -> float:
    """Seconds. Warnings do not stop it: the stock build has them, and a draft may."""
    command = [sys.executable, '-m', 'sphinx', '-q', '-j', JOBS, '-c', str(build.root), '-d', str(doctrees or build.root / 'doctrees'),
               '-b', builder, str(build.root / 'source'), str(out)]
    start = time.perf_counter()
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode:
        sys.exit(f'生成失败：{" ".join(command)}\n{result.stderr[-3000:]}')
    return seconds


def formulas(build: Build) -> float:
    """Seconds to turn every formula of the book into MathML, as often as a build does."""
    sys.path[:0] = [str(ROOT / '_ext'), str(ROOT)]
    from docutils import nodes
    from mathml.convert import MathError, convert
    from mathml.domain import tex_of

    found = []
    for path in (build.root / 'doctrees').rglob('*.doctree'):
        doctree = pickle.loads(path.read_bytes())
        found += [(tex_of(node), isinstance(node, nodes.math_block)) for kind in (nodes.math, nodes.math_block) for node in doctree.findall(kind)]
    start = time.perf_counter()
    for _ in ('checked when read', 'converted when written'):
        convert.cache_clear()
        for tex, display in found:
            try:
                convert(tex, display)
            except MathError:
                continue
    return time.perf_counter() - start


def paper(build: Build) -> list[Row]:
    """Speed of the printed book, where TeX is installed."""
    if not shutil.which('xelatex'):
        print('没有 xelatex，不量 PDF。', file=sys.stderr)
        return []
    print('排版 PDF……', file=sys.stderr)
    out = build.root / 'latex'
    sphinx(build, 'latex', out)
    start = time.perf_counter()
    command = [sys.executable, '-m', 'printed.typeset', str(out), 'llm-tutorial']
    subprocess.run(command, cwd=ROOT, env={'PYTHONPATH': str(ROOT / '_ext'), 'PATH': '/usr/bin:/bin'}, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    info = subprocess.run(['pdfinfo', str(out / 'llm-tutorial.pdf')], capture_output=True, text=True, check=False).stdout
    pages = re.search(r'^Pages:\s+(\d+)', info, re.MULTILINE)
    return [Row(f'PDF 每秒页数（{pages[1]} 页）', int(pages[1]) / seconds, None)] if pages else []
