"""The prose of a doctree as plain strings, with formulas, names and references replaced by stand-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blocks.nodes import block_title
from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKS = (nodes.paragraph, nodes.title, nodes.caption, nodes.rubric, nodes.term, nodes.line, block_title)
FORMULA = 'x'
NUMBER = '1.1'
CITED = '（引）'
CITED_AUTHOR = f'Vaswani 等{CITED}'


def blocks(document: nodes.document) -> Iterator[tuple[nodes.Element, str]]:
    """Each block of prose with its plain text."""
    for node in document.findall(lambda node: isinstance(node, BLOCKS)):
        if text := plain(node).strip():
            yield node, text


def plain(node: nodes.Node) -> str:
    """Text of ``node`` with what is not prose replaced: formulas and names by a letter, references by a number."""
    match node:
        case nodes.Text():
            return str(node)
        case nodes.math() | nodes.literal():
            return FORMULA
        case nodes.footnote_reference() | nodes.citation_reference() | nodes.raw() | nodes.image():
            return ''
        case addnodes.pending_xref():
            return plain_reference(node)
        case nodes.reference() if node.get('refuri', '').startswith('http') and node.astext() == node['refuri']:
            return FORMULA
    return ''.join(map(plain, node.children))


def plain_reference(node: addnodes.pending_xref) -> str:
    if node.get('refdomain') == 'cite':
        return CITED_AUTHOR if node.get('reftype') == 't' else CITED
    if node.get('refexplicit') or node.get('reftype') == 'term':
        return ''.join(map(plain, node.children))
    if 'torch' in (node.get('refdomain'), node.get('reftype')):
        return FORMULA
    return NUMBER
