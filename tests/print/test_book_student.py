"""The student edition and the answer book, as `make student` makes them: nothing withheld is in any file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from blocks.nodes import block
from conftest import ROOT
from docutils import nodes
from parts import require

HAN = re.compile('[\u4e00-\u9fff]{9,}')


@pytest.fixture(scope='module')
def folder(make):
    require('xelatex', 'latexmk', 'fc-list', 'pdftotext')
    return make('student')


class Runs:
    """Runs of Chinese to look for in many texts: by their first characters, so that a text is gone through once and not once for each."""

    def __init__(self, runs) -> None:
        self.by_start: dict[str, list[str]] = {}
        for run in runs:
            self.by_start.setdefault(run[:9], []).append(run)

    def within(self, text: str) -> set[str]:
        found = set()
        for stretch in set(HAN.findall(text)):
            for at in range(len(stretch) - 8):
                for run in self.by_start.get(stretch[at:at + 9], ()):
                    if stretch.startswith(run, at):
                        found.add(run)
        return found


def text_of(path: Path) -> str:
    if path.suffix == '.pdf':
        return subprocess.run(['pdftotext', str(path), '-'], check=True, capture_output=True, text=True).stdout
    return path.read_bytes().decode('utf-8', errors='replace')


@pytest.fixture(scope='module')
def withheld(folder):
    """Runs of Chinese in hints and solutions that stand nowhere else in the sources."""
    import pickle  # noqa: PLC0415

    secret, public = {}, ''
    for path in sorted((folder / 'doctrees').rglob('*.doctree')):
        doctree = pickle.loads(path.read_bytes())
        for node in list(doctree.findall(block)):
            if node['kind'] in ('hint', 'solution') and node.parent is not None:
                for run in HAN.findall(node.astext()):
                    secret[run] = node['label'] or path.stem
                node.parent.remove(node)
        public += re.sub(r'\s', '', doctree.astext())
        public += ''.join(picture.get('alt', '') for picture in doctree.findall(nodes.Element))
    open_to_all = Runs(secret).within(public)
    found = {run: where for run, where in secret.items() if run not in open_to_all}
    assert len(found) > 100
    return found


def test_runs_are_found_wherever_they_stand():
    runs = Runs(['这是秘密的答案六十四', '这是秘密的答案六十四没错', '完全无关的另外一句话'])
    assert runs.within('前文这是秘密的答案六十四对不对，完全无关的另外') == {'这是秘密的答案六十四'}
    assert runs.within('x这是秘密的答案六十四没错y') == {'这是秘密的答案六十四', '这是秘密的答案六十四没错'}


def test_nothing_withheld_is_in_any_file(folder, withheld):
    files = [path for name in ('html', 'latex') for path in sorted((folder / name).rglob('*')) if path.is_file()]
    assert any(path.suffix == '.pdf' for path in files) and any(path.name == 'searchindex.js' for path in files)
    leaks, runs = {}, Runs(withheld)
    for path in files:
        text = text_of(path)
        if '\\u' in text:
            text += re.sub(r'\\u([0-9a-f]{4})', lambda code: chr(int(code[1], 16)), text)
        text = re.sub(r'\s', '', text)
        for run in runs.within(text):
            leaks.setdefault(str(path.relative_to(folder)), []).append(f'{withheld[run]}: {run}')
    assert leaks == {}


def test_the_answer_book_has_it_all_and_statements_too(folder, withheld):
    text = re.sub(r'\s', '', text_of(folder / 'answers/llm-tutorial-answers.pdf'))
    there = Runs(withheld).within(text)
    lost = [f'{where}: {run}' for run, where in withheld.items() if run not in there]
    assert len(lost) <= 0.03 * len(withheld), lost[:20]          # a run may be cut by the head of a page
    statement = re.search(r'^:::+\{exercise\}.*?\n\n([\u4e00-\u9fff，]{8,})', (ROOT / 'source/chapter1/self-attention.md').read_text(), flags=re.M | re.S)
    assert statement is None or statement[1] in text
    log = (folder / 'answers/llm-tutorial-answers.log').read_text(encoding='utf-8', errors='replace')
    assert not re.findall(r'undefined references|multiply.defined|Missing character', log)
