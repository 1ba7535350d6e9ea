"""The subject index: terms of the glossary where the text uses them, and definitions, in the order of their pinyin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blocks.nodes import block
from docutils import nodes
from pypinyin import lazy_pinyin
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .structure import listed_files, raw, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECIAL = re.compile(r'(["@!|])')       # to makeindex
NAMES = re.compile(r'[ -~]+(?=：)')     # the English names that begin an explanation in the glossary


def entry(text: str, rest: str = '') -> nodes.raw:
    """An entry in the order of its pinyin; ``rest`` says how its page is shown."""
    key = ' '.join(lazy_pinyin(text)).lower()
    shown = text.translate({ord(one): f'\\{one}' for one in '%&#_$'})
    return raw(r'\index{%s@%s%s}' % (SPECIAL.sub(r'"\1', key), SPECIAL.sub(r'"\1', shown), rest))


class SubjectIndex(SphinxPostTransform):
    default_priority = 8        # while references to terms are still told from others
    formats = ('latex',)

    def run(self, **kwargs: object) -> None:
        root = self.document.next_node(nodes.section)
        for file in list(listed_files(root)) if root is not None else ():
            seen: set[tuple[str, str]] = set()
            for inner, node in list(walk(file)):
                if isinstance(node, addnodes.pending_xref) and node.get('reftype') == 'term':
                    use = inner['docname'], node['reftarget']
                    if use not in seen:
                        seen.add(use)
                        node.parent.insert(node.parent.index(node), entry(node['reftarget']))
                elif isinstance(node, block) and node['kind'] == 'definition' and len(node[0]) and not node[0].next_node(nodes.math):
                    words = ''.join(child.astext() for child in node[0].children if child.tagname != 'check_mark')
                    node[0] += entry(words, '|textbf')
                elif isinstance(node, addnodes.glossary):
                    for item in node.findall(nodes.definition_list_item):
                        item[-1][0][0:0] = list(of_glossary(item))


def of_glossary(item: nodes.definition_list_item) -> Iterator[nodes.raw]:
    """Its terms, and its English names leading to them."""
    terms = [term.astext() for term in item.findall(nodes.term)]
    names = NAMES.match(item[-1].astext())
    names = [name.strip() for name in names[0].split(',')] if names else []
    yield from map(entry, terms)
    for at, name in enumerate(names):
        if name not in terms:
            yield entry(name, '|see{%s}' % terms[at if len(terms) == len(names) else 0])
