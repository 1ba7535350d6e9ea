"""Text of a doctree as a reader sees it: formulas as characters instead of TeX, blocks kept apart, nothing invisible."""

from __future__ import annotations

from docutils import nodes
from mathml.readable import readable
from sphinx import addnodes

_SKIPPED = (nodes.comment, nodes.raw, nodes.system_message, nodes.meta, nodes.literal_block, addnodes.toctree, addnodes.index)


# A resolved table of contents repeats the titles of other pages.
_SKIPPED_CLASSES = frozenset({'no-search', 'toctree-wrapper'})


def hidden(node: nodes.Node) -> bool:
    """Not part of this page's text; the mark “已核验” is not the author's."""
    if isinstance(node, _SKIPPED) or node.__class__.__name__ == 'check_mark':
        return True
    return isinstance(node, nodes.Element) and not _SKIPPED_CLASSES.isdisjoint(node['classes'])


def plain(node: nodes.Node) -> str:
    """Text below ``node``; a space after each block-level element, none inside a line, so that marked-up words stay whole."""
    if isinstance(node, nodes.Text):
        return node.astext()
    if hidden(node):
        return ''
    if isinstance(node, (nodes.math, nodes.math_block)):
        return readable(node.astext()) + ('' if isinstance(node, nodes.math) else ' ')
    text = ''.join(map(plain, node.children))
    return text if isinstance(node, nodes.Inline) else text + ' '
