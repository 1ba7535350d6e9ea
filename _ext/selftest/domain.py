"""What was asked: a digest of the statement of each exercise, so that a mark put on an older one can be told from a fresh one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from blocks.nodes import block
from docutils import nodes
from sphinx.domains import Domain

LENGTH = 8


class SelftestDomain(Domain):
    name = 'selftest'
    label = '自测'
    data_version = 1
    initial_data: dict[str, Any] = {'statements': {}}       # docname -> {id: digest}

    def note(self, docname: str, doctree: nodes.document) -> None:
        self.data['statements'][docname] = {node['ids'][0]: digest(node) for node in doctree.findall(block) if node['kind'] == 'exercise'}

    def clear_doc(self, docname: str) -> None:
        self.data['statements'].pop(docname, None)

    def merge_domaindata(self, docnames: Iterable[str], otherdata: dict[str, Any]) -> None:
        self.data['statements'].update((docname, otherdata['statements'][docname]) for docname in docnames if docname in otherdata['statements'])

    def resolve_any_xref(self, *args: object) -> list[tuple[str, nodes.Element]]:
        return []           # nothing here has a label; MyST warns about a domain that does not say so

    def statement(self, docname: str, node_id: str) -> str:
        return self.data['statements'][docname][node_id]


def digest(exercise: block) -> str:
    text = ' '.join(' '.join(pieces(exercise)).split())
    return sha256(text.encode()).hexdigest()[:LENGTH]


def pieces(element: nodes.Element) -> Iterator[str]:
    """Text and pictures of an exercise as the author wrote them, without its hints: a better hint is no new question."""
    for child in element.children:
        if isinstance(child, nodes.Text):
            yield child.astext()
        elif isinstance(child, nodes.image):
            yield child['uri']
        elif not (isinstance(child, block) and child['kind'] == 'hint'):
            yield from pieces(child)
