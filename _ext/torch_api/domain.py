"""Facts: the known names, and in which section of which document each is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from docutils import nodes
from sphinx.domains import Domain

from torch_api import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class Found(NamedTuple):
    name: str
    uri: str


class Use(NamedTuple):
    target: str            # as written
    name: str              # full name, empty when unknown at the time of reading
    uri: str
    line: int


class TorchDomain(Domain):
    name = 'torch'
    label = 'PyTorch'
    data_version = 1
    # links: full name -> address, set anew by every build; uses: docname -> [Use]; places: docname -> [(full name, anchor)];
    # indices: docname of a {torch-index} -> the rows it was last written with
    initial_data: ClassVar[dict] = {'links': {}, 'uses': {}, 'places': {}, 'indices': {}}

    def known(self) -> dict[str, str]:
        return self.data['links']

    def find(self, target: str) -> Found | None:
        name = names.resolve(target, self.known())
        return Found(name, self.known()[name]) if name else None

    def note(self, target: str, line: int) -> None:
        self.data['uses'].setdefault(self.env.current_document.docname, []).append(Use(target, *(self.find(target) or ('', '')), line))

    def process_doc(self, env: BuildEnvironment, docname: str, document: nodes.document) -> None:
        """Where each name stands: the innermost section around it."""
        places: dict[tuple[str, str], None] = {}
        for reference in document.findall(lambda node: isinstance(node, nodes.reference) and 'torch' in node):
            section = reference.parent
            while section is not None and not isinstance(section, nodes.section):
                section = section.parent
            places[reference['torch'], section['ids'][0] if section is not None else ''] = None
        if places:
            self.data['places'][docname] = list(places)

    def clear_doc(self, docname: str) -> None:
        for kind in ('uses', 'places', 'indices'):
            self.data[kind].pop(docname, None)

    def merge_domaindata(self, docnames: Sequence[str], otherdata: dict) -> None:
        for kind in ('uses', 'places', 'indices'):
            self.data[kind].update((docname, facts) for docname, facts in otherdata[kind].items() if docname in docnames)

    def resolve_any_xref(self, *args: object) -> list:
        return []   # names are reached by the role alone


def refresh(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Documents that use a name whose address has changed or become known since they were read."""
    torch: TorchDomain = env.domains['torch']

    def moved(use: Use) -> bool:
        return (torch.find(use.target) or ('', '')) != (use.name, use.uri)

    return [docname for docname, uses in torch.data['uses'].items() if any(map(moved, uses))]
