"""What the source declares, read as text: labelled things, their answers, the cells of their tables.

The tests need this in seconds and even where the book does not build, so no doctree is involved: fences, labels and
pipe tables are recognised line by line, with the rules of CONTRIBUTING.md (colon fences nest, the inner one closes first).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

FENCE = re.compile(r'\s*(?P<mark>:{3,}|`{3,}|~{3,})\s*(?:\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)|(?P<other>.*))$')
OPTION = re.compile(r'\s*:(?P<key>[\w-]+):\s*(?P<value>.*)$')
EQUATION = re.compile(r'\$\$\s*\((?P<label>[\w:.-]+)\)\s*$')

BLOCKS = frozenset('exercise definition theorem lemma proposition corollary example algorithm remark'.split())
FIGURES = frozenset({'pyfigure', 'figure'})
OPAQUE = frozenset({'', 'math', 'code', 'code-block', 'raw'})       # what their fences hold is not MyST


@dataclass
class Declared:
    """A labelled thing of the book: ``kind`` is the directive's name, ``equation``, ``figure`` or ``table``."""

    label: str
    kind: str
    path: Path
    line: int
    exercise_kind: str = ''
    answer: str = ''
    answer_at: tuple[Path, int] | None = None
    rows: list[list[str]] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f'{self.path}:{self.line}'

    @property
    def answer_where(self) -> str:
        path, line = self.answer_at or (self.path, self.line)
        return f'{path}:{line}'


@dataclass
class Fence:
    mark: str
    name: str
    argument: str
    line: int
    options: dict[str, tuple[str, int]] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)
    in_options: bool = True


def cells(line: str) -> list[str]:
    """Cells of a pipe-table row; ``\\|`` and pipes in code spans do not divide, as in markdown-it."""
    text = line.strip().removeprefix('|')
    text = re.sub(r'`[^`]*`', lambda code: code[0].replace('|', '\0'), text).replace('\\|', '\0')
    return [cell.replace('\0', '|').strip() for cell in text.removesuffix('|').split('|')]


Read = tuple[list[Declared], list[tuple[str, str, int]]]      # things, and the answers of solutions: label, answer, line


def read_text(path: Path, text: str) -> Read:
    """What ``text``, the content of ``path``, declares."""
    found: list[Declared] = []
    answers: list[tuple[str, str, int]] = []
    stack: list[Fence] = []
    for number, line in enumerate(text.splitlines(), 1):
        top = stack[-1] if stack else None
        fence = FENCE.match(line)
        closes = fence and top and not fence['name'] and not fence['other'] and fence['mark'].startswith(top.mark)
        if top and top.in_options and number > top.line + len(top.options) + 1:
            top.in_options = False              # options are the lines right after the opening one
        if closes:
            close(stack.pop(), path, found, answers)
        elif top and top.in_options and (option := OPTION.match(line)):
            top.options[option['key']] = (option['value'].strip(), number)
        elif top and top.name == 'table' and line.lstrip().startswith('|'):
            top.rows.append(cells(line))
        elif line.startswith('%') or (top and top.mark[0] != ':' and top.name in OPAQUE):
            continue
        elif fence and (fence['name'] or fence['mark'][0] != ':'):
            stack.append(Fence(fence['mark'], fence['name'] or '', (fence['argument'] or '').strip(), number))
        elif equation := EQUATION.search(line):
            found.append(Declared(equation['label'], 'equation', path, number))
    return found, answers


def close(fence: Fence, path: Path, found: list[Declared], answers: list[tuple[str, str, int]]) -> None:
    def option(name: str) -> str:
        return fence.options.get(name, ('', 0))[0]

    label = option('label') or option('name')
    answer, answer_line = fence.options.get('answer', ('', 0))
    if fence.name == 'solution' and answer:
        answers.append((fence.argument.split()[0] if fence.argument else '', answer, answer_line))
    kind = {'math': 'equation', **dict.fromkeys(FIGURES, 'figure')}.get(fence.name, fence.name)
    if label and (kind in BLOCKS or kind in ('equation', 'figure', 'table')):
        found.append(Declared(label, kind, path, fence.line, option('kind'), answer, (path, answer_line) if answer else None, fence.rows))


@dataclass
class Book:
    """Everything declared, by label."""

    things: dict[str, Declared]
    problems: list[str]


@cache
def read_files(source: Path) -> dict[Path, Read]:
    """Every source file below ``source``, read once in a process."""
    return {path: read_text(path, path.read_text(encoding='utf-8')) for path in sorted(source.rglob('*.md'))}


@cache
def read_book(source: Path) -> Book:
    return assemble(read_files(source))


def assemble(files: dict[Path, Read]) -> Book:
    """One book of many files; answers of solutions are put with their exercises."""
    things: dict[str, Declared] = {}
    problems: list[str] = []
    for found, _ in files.values():
        for thing in found:
            if first := things.get(thing.label):
                problems.append(f'{thing.where}: 标签“{thing.label}”已用于 {first.where}')
            things.setdefault(thing.label, thing)
    for path, (_, answers) in files.items():
        for label, answer, line in answers:
            if label in things:
                things[label] = replace(things[label], answer=answer, answer_at=(path, line))
            else:
                problems.append(f'{path}:{line}: 解答所答的练习“{label}”不存在')
    return Book(things, problems)
