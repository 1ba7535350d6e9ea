"""Numbers from facts: a pure function, so that every builder, process count and order of edits gives the same ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .facts import Fact
from .kinds import CHAPTER_WORD, KINDS

Outline = Sequence[Fact | tuple[str, ...]]
Key = tuple[str, str]                               # (docname, id)
Numbers = dict[Key, tuple[str, str]]                # word and number, ('练习', '1.1.3')


def reading_order(outlines: Mapping[str, Outline], root: str) -> Iterator[tuple[str, Fact, bool]]:
    """Every block with its document, in the order of the book; last is true for what no toctree reaches."""
    seen: set[str] = set()

    def walk(docname: str, stray: bool) -> Iterator[tuple[str, Fact, bool]]:
        if docname in seen or docname not in outlines:
            return
        seen.add(docname)
        for item in outlines[docname]:
            if isinstance(item, Fact):
                yield docname, item, stray
            else:
                for child in item:
                    yield from walk(child, stray)

    yield from walk(root, False)
    for docname in sorted(outlines):
        yield from walk(docname, True)


def assign(
    outlines: Mapping[str, Outline],
    root: str,
    secnumbers: Mapping[str, Mapping[str, tuple[int, ...]]],
    depth: int,
    counters: Mapping[str, str],
) -> Numbers:
    """Number every block that has a counter, within its section down to ``depth`` levels."""
    numbers: Numbers = {}
    counts: Counter = Counter()
    for docname, fact, stray in reading_order(outlines, root):
        counter = counters.get(fact.kind, KINDS[fact.kind].counter)
        if not fact.numbered or not counter:
            continue
        gathers = any(not isinstance(item, Fact) and item for item in outlines[docname])
        section = section_number(secnumbers.get(docname, {}), () if gathers else fact.sections)[:depth]
        place = (counter, docname if stray else '', section)
        counts[place] += 1
        word = KINDS[fact.kind].word
        if gathers and 0 < len(section) < depth:
            word = CHAPTER_WORD.get(fact.kind, word)
        numbers[docname, fact.id] = word, '.'.join(map(str, (*section, counts[place])))
    return numbers


def section_number(known: Mapping[str, tuple[int, ...]], sections: Sequence[str]) -> tuple[int, ...]:
    """Number of the innermost section that has one, else of the document.

    On a page that gathers others, headings compete for numbers with the pages they precede: only the page's own number is stable there.
    """
    for anchor in sections:
        if number := known.get(f'#{anchor}'):
            return number
    return known.get('', ())
