"""Colon fences that nest: ``:::`` inside ``:::`` closes the inner block first.

MyST ends a block at the first line of enough colons, so that an outer fence has to be longer than what it holds;
with equal ones the rest of the outer block falls out of it, without a word. Here fences are matched as brackets are, outer ones made longer in what the parser reads,
and what does not match is reported. No line is added or taken away, so every later message points at the author's line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

COLONS = re.compile(r'(?P<indent>[ \t]*)(?P<colons>:{3,})(?P<info>.*)')
CODE = re.compile(r'[ \t]*(?P<marks>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)')


@dataclass
class Fence:
    first: int                  # index of the line that opens it
    colons: int
    info: str
    last: int | None = None     # index of the line that closes it
    inner: list[Fence] = field(default_factory=list)

    def needed(self) -> int:
        """Colons that make it longer than all it holds."""
        return max([self.colons, *(fence.needed() + 1 for fence in self.inner)])


def match(lines: list[str]) -> tuple[list[Fence], list[int]]:
    """Every fence of a text, in order, and the indices of closing lines that close nothing."""
    fences: list[Fence] = []
    stray: list[int] = []
    open_: list[Fence] = []
    code = ''
    for index, line in enumerate(lines):
        if found := CODE.fullmatch(line):
            marks, info = found['marks'], found['info'].strip()
            if not code:
                code = marks
            elif not info and marks.startswith(code):
                code = ''
            continue
        found = None if code else COLONS.fullmatch(line)
        if found is None:
            continue
        count, info = len(found['colons']), found['info'].strip()
        if info:
            fence = Fence(index, count, info)
            if open_:
                open_[-1].inner.append(fence)
            fences.append(fence)
            open_.append(fence)
        elif closed := closed_by(count, open_):
            closed.last = index
            del open_[open_.index(closed):]
        elif not open_:
            stray.append(index)
    return fences, stray


def closed_by(count: int, open_: list[Fence]) -> Fence | None:
    """The innermost fence of exactly that many colons, else the innermost that is not longer."""
    for fits in (int.__eq__, int.__le__):
        for fence in reversed(open_):
            if fits(fence.colons, count):
                return fence
    return None


def nest(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text with outer fences long enough, and ``(line, message)`` for what does not match."""
    lines = text.split('\n')
    fences, stray = match(lines)
    problems = [(index + 1, '多余的结束冒号：前面没有与它相配的块，删去这一行，或补上块的开头') for index in stray]
    for fence in fences:
        if fence.last is None:
            problems.append((fence.first + 1, f'块“{fence.info}”没有闭合：在它的末尾补一行 {":" * fence.colons}'))
        for index in (fence.first, fence.last):
            if index is not None:
                lines[index] = COLONS.sub(lambda found, fence=fence: found['indent'] + ':' * fence.needed() + found['info'], lines[index])
    return '\n'.join(lines), sorted(problems)
