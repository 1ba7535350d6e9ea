"""``python -m printed.typeset FOLDER BOOK``: from the LaTeX that Sphinx wrote to the PDF, telling how far it is, and where it failed.

TeX names a line of the file it read; the comments that ``writer`` puts there name the MyST source it came from.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from printed.writer import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMAND = (
    'latexmk', '-xelatex', '-interaction=nonstopmode', '-halt-on-error', '-file-line-error',
    '-e', '$makeindex = q(makeindex -q -s book.ist %O -o %D %S); $max_repeat = 8',
)
STEP = 20               # pages between two reports where the line cannot be overwritten
PAGE = re.compile(r'\[(\d+)')
RULE = re.compile(r"Run number \d+ of rule '(\w+)")
ERROR = re.compile(r'^(?:\./)?([^:\n]+\.\w+):(\d+): (.*)$')


class Failure(NamedTuple):
    message: str
    tex: str            # book.tex:123
    source: str         # chapter1/self-attention.md:45, or nothing
    context: str        # what TeX had read


def main(folder: Path, book: str) -> int:
    start = time.monotonic()
    lines = subprocess.Popen([*COMMAND, f'{book}.tex'], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    with Path(folder, 'latexmk.out').open('w', encoding='utf-8') as record:
        pages = watch(lines.stdout, record, sys.stdout.isatty())
    if lines.wait():
        tell(failure(folder, book), folder / f'{book}.log')
        return 1
    seconds = time.monotonic() - start
    print(f'排版：{pages} 页，{seconds:.0f} 秒，每秒 {pages / seconds:.1f} 页' if pages else '排版：没有改动，PDF 仍是新的')
    return 0


def watch(lines: Iterable[str], record: object, overwrite: bool) -> int:
    """Show run and page; return the pages of the last run."""
    run = page = shown = 0
    reading = False
    for line in lines:
        record.write(line)
        if rule := RULE.search(line):
            reading = rule[1] == 'xelatex'
            if reading:
                run, page, shown = run + 1, 0, 0
        for _ in PAGE.findall(line) if reading else ():
            page += 1
            if overwrite:
                print(f'\r  第 {run} 遍：{page} 页', end='', flush=True)
            elif page - shown >= STEP:
                shown = page
                print(f'  第 {run} 遍：{page} 页', flush=True)
    if overwrite and run:
        print()
    return page


def failure(folder: Path, book: str) -> Failure | None:
    """The first error in the log."""
    log = (folder / f'{book}.log').read_text(encoding='utf-8', errors='replace').splitlines() if (folder / f'{book}.log').exists() else []
    for at, line in enumerate(log):
        if found := ERROR.match(line):
            name, number, message = found[1], int(found[2]), found[3]
            context = next((text for text in log[at + 1:at + 12] if text.startswith('l.')), '')
            return Failure(message, f'{name}:{number}', source_of(folder / name, number), context)
        if line.startswith('! '):
            return Failure(line[2:], f'{book}.log:{at + 1}', '', '')
    return None


def source_of(tex: Path, number: int) -> str:
    """The last source that a comment names before the line."""
    if not tex.is_file():
        return ''
    for line in reversed(tex.read_text(encoding='utf-8').splitlines()[:number]):
        if line.startswith(MARK):
            return line.removeprefix(MARK).strip()
    return ''


def tell(found: Failure | None, log: Path) -> None:
    if found is None:
        print(f'排版失败；记录见 {log}', file=sys.stderr)
        return
    where = f'source/{found.source}' if found.source else found.tex
    print(f'{where}: 排版失败：{found.message}\n  {found.context}\n  （{found.tex}；完整记录见 {log}）', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
