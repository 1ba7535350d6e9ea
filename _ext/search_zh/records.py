"""What a page offers to the search: one record for each section, block and glossary term, in the order of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes
from sphinx.util.index_entries import split_index_msg

from search_zh.language import HAN, narrow
from search_zh.text import hidden, plain

try:
    from blocks.nodes import block, block_title
except ImportError:  # a project without numbered blocks
    block = block_title = type('absent', (nodes.Element,), {})


if TYPE_CHECKING:
    from collections.abc import Mapping

    from docutils.nodes import Element, Node

# What each kind of block is to a reader who searches. Statements define; other text uses.
KINDS = dict.fromkeys(('definition', 'theorem', 'lemma', 'proposition', 'corollary'), 'statement')
KINDS |= {'exercise': 'exercise', 'hint': 'solution', 'solution': 'solution'}
# 缩放因子（scaling factor）: how the book introduces a term.
_INTRODUCED = re.compile(f'([{HAN}]{{2,12}})（([A-Za-z][A-Za-z0-9 ,./+-]{{1,80}})）')


@dataclass
class Record:
    kind: str  # text, statement, exercise, solution, term
    anchor: str
    number: str
    title: str
    text: str = ''
    names: list[str] = field(default_factory=list)  # what it defines, besides its title
    level: int = 0  # of a heading; 1 is the page itself


class Collector:
    """Walks a page once. Text goes to the innermost section, block or term that holds it."""

    def __init__(self, numbers: Mapping[str, str]) -> None:
        self.numbers = numbers
        self.records: list[Record] = []

    def collect(self, node: Node, into: Record | None, level: int = 0) -> None:
        if isinstance(node, addnodes.index) and into:
            into.names += index_names(node)
        elif hidden(node):
            return
        elif isinstance(node, nodes.section):
            anchor = lasting(node['ids'])
            title = next(iter(node.findall(nodes.title)), None)
            number = self.numbers.get('' if level == 0 else f'#{node["ids"][0]}', '')
            record = self.open('text', '' if level == 0 else anchor, number, plain(title) if title else '', level=level + 1)
            self.children(node, record, level + 1, skip=nodes.title)
        elif isinstance(node, block):
            self.block(node, level)
        elif isinstance(node, nodes.definition_list_item) and isinstance(node[0], nodes.term) and node[0]['ids']:
            terms = [child for child in node.children if isinstance(child, nodes.term)]
            record = self.open('term', terms[0]['ids'][0], '', '、'.join(plain(term).strip() for term in terms))
            record.names += [plain(term).strip() for term in terms]
            self.children(node, record, level, skip=nodes.term)
            head, colon, _ = record.text.partition('：')
            if colon and len(head) < 80:
                record.names += [name.strip() for name in head.split(',')]
        elif into is None or isinstance(node, (nodes.Text, nodes.math, nodes.math_block, nodes.Inline)):
            if into is None:
                self.children(node, into, level)
            else:
                into.text += plain(node)
                into.names += [name for index in node.findall(addnodes.index) for name in index_names(index)]
        else:
            self.children(node, into, level)
            into.text += ' '

    def children(self, node: Element, into: Record | None, level: int, skip: type[Node] | tuple[type[Node], ...] = ()) -> None:
        for child in node.children:
            if not (skip and isinstance(child, skip)):
                self.collect(child, into, level)

    def block(self, node: block, level: int) -> None:
        if node.get('hidden'):
            return
        title = next((plain(child) for child in node.children if isinstance(child, block_title)), '')
        record = self.open(KINDS.get(node['kind'], 'text'), (node['ids'] or [''])[0], node.get('caption') or '', title)
        self.children(node, record, level, skip=block_title)

    def open(self, kind: str, anchor: str, number: str, title: str, level: int = 0) -> Record:
        self.records.append(Record(kind, anchor, number, ' '.join(title.split()), level=level))
        return self.records[-1]


def lasting(ids: list[str]) -> str:
    """An author's label rather than docutils' ``id7``, which moves when a heading is added."""
    return next((one for one in ids if not re.fullmatch(r'id\d+', one)), ids[0])


def index_names(node: addnodes.index) -> list[str]:
    names = []
    for kind, value, *_ in node['entries']:
        try:
            names += [part for part in split_index_msg(kind, value) if part]
        except ValueError:  # Sphinx has warned about the malformed entry
            continue
    return names


def collect(doctree: nodes.document, numbers: Mapping[str, str]) -> list[Record]:
    """Records of a page; ``numbers`` maps '' and '#anchor' to section numbers."""
    collector = Collector(numbers)
    collector.collect(doctree, None)
    for record in collector.records:
        record.text = ' '.join(narrow(record.text).split())
        record.title = narrow(record.title)
        if record.kind in {'text', 'statement'}:
            record.names += [name for match in _INTRODUCED.finditer(record.text) for name in (match[1], *map(str.strip, match[2].split(',')))]
        record.names = list(dict.fromkeys(narrow(name) for name in record.names if name != record.title))
    return collector.records
