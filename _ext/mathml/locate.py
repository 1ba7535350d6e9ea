"""Where in the author's file an error of a formula is: a paragraph's formulas all carry the paragraph's first line."""

from __future__ import annotations

from pathlib import Path
from unicodedata import east_asian_width


def line_of(source: str, first: int, tex: str, position: int, occurrence: int = 0) -> int:
    """Line of ``tex[position]`` in the file, looking from line ``first`` for the formula (its n-th occurrence)."""
    try:
        text = Path(source).read_text(encoding='utf-8')
    except OSError:
        return first
    before = tex.count('\n', 0, position)
    start = sum(len(line) for line in text.splitlines(keepends=True)[: first - 1])
    # Inside quotations and lists the lines carry prefixes that the parser takes off: then look for the wrong line alone.
    for wanted, offset in ((tex, before), (tex.split('\n')[before].strip(), 0)):
        found = start - 1
        for _ in range(occurrence + 1):
            found = text.find(wanted, found + 1)
            if found < 0:
                break
        if wanted and found >= 0:
            return text.count('\n', 0, found) + 1 + offset
    return first + before


def excerpt(tex: str, position: int | None) -> str:
    """The line of TeX with a caret below the place."""
    if position is None:
        return '\n    ' + tex.strip().replace('\n', '\n    ')
    begin = tex.rfind('\n', 0, position) + 1
    line = tex[begin:].split('\n')[0]
    width = sum(2 if east_asian_width(c) in 'WF' else 1 for c in tex[begin:position])
    return f'\n    {line}\n    {" " * width}^'
