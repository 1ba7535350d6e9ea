"""What hints and solutions hold that can be referred to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from blocks.nodes import block
from docutils import nodes
from sphinx.domains import Domain

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

WITHHELD = ('hint', 'solution')


class EditionsDomain(Domain):
    name = 'edition'
    label = '版本'
    data_version = 1
    initial_data: ClassVar[dict[str, Any]] = {'inside': {}}     # docname -> ((id, kind of block it stands in), ...)

    def process_doc(self, env: object, docname: str, document: nodes.document) -> None:
        self.data['inside'][docname] = tuple(
            (one, node['kind'])
            for node in document.findall(block) if node['kind'] in WITHHELD
            for inner in node.findall(nodes.Element) for one in inner.get('ids', ())
        )

    def clear_doc(self, docname: str) -> None:
        self.data['inside'].pop(docname, None)

    def merge_domaindata(self, docnames: Set[str], otherdata: dict[str, Any]) -> None:
        self.data['inside'].update({docname: otherdata['inside'][docname] for docname in docnames if docname in otherdata['inside']})

    def inside(self) -> Iterator[tuple[str, str, str]]:
        """Document, id, and ``hint`` or ``solution``."""
        for docname, found in self.data['inside'].items():
            for one, kind in found:
                yield docname, one, kind

    def resolve_any_xref(self, *args: Any) -> list:
        """Nothing of its own to refer to."""
        return []
