"""What the domain remembers of each block, and how it is read off a doctree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes

from .nodes import block

Title = tuple[tuple[str, str], ...]        # (('text', '方差为'), ('math', 'd_k')): survives pickling, translation and every writer

INLINE = {'math': nodes.math, 'literal': nodes.literal, 'emphasis': nodes.emphasis, 'strong': nodes.strong}


class Fact(NamedTuple):
    docname: str
    id: str
    label: str
    kind: str
    line: int
    title: Title
    exercise_kind: str
    difficulty: str
    answer: str
    target: str                     # solution, proof: label of the block it belongs to; hint: label of the exercise around it
    numbered: bool
    hidden: bool
    inside: str                     # id of the exercise around a hint
    ordinal: int                    # of a hint among those of its exercise; 0 when it is the only one
    sections: tuple[str, ...]       # ids of the sections around, innermost first


def title_pieces(title: nodes.Element) -> Title:
    return tuple(_pieces(title))


def _pieces(element: nodes.Element) -> Iterator[tuple[str, str]]:
    for child in element.children:
        if isinstance(child, nodes.Text):
            yield 'text', child.astext()
        elif child.tagname in INLINE:
            yield child.tagname, child.astext()
        elif isinstance(child, nodes.Element):
            yield from _pieces(child)


def title_nodes(title: Title) -> list[nodes.Node]:
    return [INLINE[kind](text, text) if kind in INLINE else nodes.Text(text) for kind, text in title]


def title_text(title: Title) -> str:
    return ''.join(text for _, text in title)


def exercise_around(node: nodes.Node) -> block | None:
    while (node := node.parent) is not None:
        if isinstance(node, block) and node['kind'] == 'exercise':
            return node
    return None


def outline(docname: str, doctree: nodes.document) -> Iterator[Fact | tuple[str, ...]]:
    """The blocks of a document and, between them, the names of the documents its toctrees include, in order."""
    for node in doctree.findall():
        if isinstance(node, addnodes.toctree):
            yield tuple(ref for _, ref in node['entries'])
        elif isinstance(node, block):
            yield fact(docname, node)


def fact(docname: str, node: block) -> Fact:
    owner = exercise_around(node) if node['kind'] == 'hint' else None
    hints = [one for one in owner.findall(block) if one['kind'] == 'hint'] if owner is not None else []
    return Fact(
        docname, node['ids'][0], node['label'], node['kind'], node.line or 0,
        title_pieces(node[0]) if len(node) else (),
        node.get('exercise_kind', ''), node.get('difficulty', ''), node.get('answer', ''),
        owner['label'] if owner is not None else node['target'],
        not node['nonumber'] and not node['hidden'], node['hidden'],
        owner['ids'][0] if owner is not None else '',
        hints.index(node) + 1 if len(hints) > 1 else 0,
        tuple(_sections(node)),
    )


def _sections(node: nodes.Node) -> Iterator[str]:
    while (node := node.parent) is not None:
        if isinstance(node, nodes.section):
            yield node['ids'][0]
