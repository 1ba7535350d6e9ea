"""Column widths of tables that are too wide for a line, from what the cells hold; tall tables may break across pages.

TeX's own choices look at whole paragraphs; here a column is never narrower than its longest word, and gets room for its text beyond that.
Widths are estimates in em: a Chinese character is one, a Latin letter about half.
"""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = 42.0             # em in a line of text
GAP = 1.2               # em between two columns
HEADING = 3             # lines that a heading takes
TALL = 30               # lines of a table that need not stay on one page

WIDE = re.compile('[\u2e80-\uffdc—…“”‘’]')
COMMAND = re.compile(r'\\(?:[A-Za-z]+|.)|[{}^_$&]')
SPACING = re.compile(r'\\(?:left|right|bigl?|bigr?|mathrm|mathcal|text|operatorname|bm|ee|,|;|!)|[{}^_$&\s]')


class Size(NamedTuple):
    word: float         # the longest part that cannot be broken
    text: float         # everything on one line


def width(text: str, latin: float = 0.5) -> float:
    return sum(1.0 if WIDE.match(one) else latin for one in text)


def pieces(node: nodes.Node) -> Iterator[float]:
    """Widths of the unbreakable parts below ``node``."""
    if isinstance(node, nodes.math):
        yield 0.55 * len(COMMAND.sub('x', SPACING.sub('', nodes.Element.astext(node))))
    elif isinstance(node, nodes.literal):
        yield from (width(part, 0.52) for part in re.findall(r'[^._]*[._]?', node.astext()) if part)
    elif isinstance(node, nodes.Text):
        for word in re.findall(r'[!-~]+|\s+|.', node.astext()):
            yield width(word)
    else:
        for child in node.children:
            yield from pieces(child)


def size(cell: nodes.Node) -> Size:
    found = list(pieces(cell)) or [0.0]
    return Size(max(found), sum(found))


def share(columns: list[Size], room: float) -> list[float]:
    """Every column its longest word, and of what is left a part that grows with its text, but slower."""
    least = [column.word + 0.3 for column in columns]
    left = max(room - sum(least), 0.0)
    wants = [max(column.text - minimum, 0.0) ** 0.6 for column, minimum in zip(columns, least, strict=True)]
    return [minimum + left * want / (sum(wants) or 1) for minimum, want in zip(least, wants, strict=True)]


class TableWidths(SphinxPostTransform):
    default_priority = 890      # when the text is what will be printed
    formats = ('latex',)

    def run(self, **kwargs: object) -> None:
        for table in self.document.findall(nodes.table):
            rows = [row.children for row in table.findall(nodes.row)]
            specs = list(table.findall(nodes.colspec))
            if any(len(row) != len(specs) for row in rows):
                continue        # cells that span
            sizes = [[size(cell) for cell in row] for row in rows]
            columns = [Size(max(s.word for s in column), max(s.text for s in column)) for column in zip(*sizes, strict=True)]
            room = LINE - GAP * len(columns)
            widths = [column.text for column in columns]
            if sum(widths) > 0.85 * room:       # near it, TeX squeezes columns of figures
                widths = share(columns, room)
                for spec, wide in zip(specs, widths, strict=True):
                    spec['colwidth'] = round(10 * (wide + GAP))
                table['classes'] = [one for one in table['classes'] if one != 'colwidths-auto'] + ['colwidths-given']
            lines = sum(max(ceil(s.text / (wide or 1)) for s, wide in zip(row, widths, strict=True)) for row in sizes)
            table['lines'] = lines
            if lines > TALL and 'longtable' not in table['classes']:
                table['classes'].append('longtable')
        for parent, section, table in list(opening(self.document)):
            # The heading goes with the table: asked for below the heading, the room would part them.
            parent.insert(parent.children.index(section), nodes.raw('', r'\BookTableRoom{%d}' % (table['lines'] + HEADING), format='latex'))
            table['lines'] = 0


def opening(node: nodes.Element) -> Iterator[tuple[nodes.Element, nodes.section, nodes.table]]:
    """Sections that begin with a table, or a line and a table, and what holds them. Walks down, for the reason given in ``structure``."""
    for child in node.children:
        if isinstance(child, nodes.section):
            shown = (one for one in child.children if not isinstance(one, (nodes.title, nodes.Invisible)))
            first = next(shown, None)
            if isinstance(first, nodes.paragraph) and width(first.astext()) < LINE:
                first = next(shown, None)
            if isinstance(first, nodes.table) and first.get('lines'):
                yield node, child, first
        if isinstance(child, nodes.Element):
            yield from opening(child)
