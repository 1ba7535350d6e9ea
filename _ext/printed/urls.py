"""Addresses that a reader of paper would miss: at the foot of the page, numbered by chapter.

Not where the text says how to find the thing: an address written out, an entry of the bibliography, the name of a PyTorch function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from docutils import nodes
from sphinx import addnodes
from sphinx.builders.latex.transforms import ShowUrlsTransform

from .structure import listed_files

if TYPE_CHECKING:
    from collections.abc import Iterator

FOUND_BY_NAME = ('reference_entry', 'citation')


class Addresses(ShowUrlsTransform):
    """Sphinx's own ``latex_show_urls = 'footnote'``, but for these links alone."""

    default_priority = 401

    def expand_show_urls(self) -> None:
        for node in list(self.document.findall(nodes.reference)):
            if (uri := node.get('refuri', '')).startswith(('http:', 'https:')) and not says_where(node, uri):
                footnote, mark = self.create_footnote(unquote(uri), self.get_docname_for_node(node))
                at = node.parent.index(node) + 1
                node.parent[at:at] = [footnote, mark]
                self.expanded = True

    def renumber_footnotes(self) -> None:
        root = self.document.next_node(nodes.section)
        for file in listed_files(root) if root is not None else ():
            number = 0
            numbers: dict[tuple[str, str], str] = {}
            marks: list[nodes.footnote_reference] = []
            for node in below(file):
                if isinstance(node, nodes.footnote):
                    number += 1
                    numbers[node['docname'], node['ids'][0]] = str(number)
                    node[0].replace_self(nodes.label('', str(number)))
                elif isinstance(node, nodes.footnote_reference):
                    marks.append(node)
            for mark in marks:
                if found := numbers.get((mark['docname'], mark['refid'])):
                    mark.children = [nodes.Text(found)]


def says_where(node: nodes.reference, uri: str) -> bool:
    text = node.astext().strip().rstrip('/')
    if 'torch' in node['classes'] or (text and uri.split('//')[-1].rstrip('/').endswith(text.split('//')[-1])):
        return True
    while (node := node.parent) is not None:
        if node.tagname in FOUND_BY_NAME:
            return True
    return False


def below(node: nodes.Element) -> Iterator[nodes.Element]:
    """Walks down: the parents of assembled children still point into the trees they came from."""
    for child in node.children:
        if isinstance(child, nodes.Element):
            yield child
            yield from below(child)
