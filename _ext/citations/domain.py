"""The domain: which document cites what and where, and which pages show labels or entries that changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.domains import Domain
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinxcontrib.bibtex.citation_target import parse_citation_targets
from sphinxcontrib.bibtex.domain import Citation

from .nodes import chapter_references

logger = logging.getLogger(__name__)

ENTRY = re.compile(r'^[ \t]*@(?!(?:comment|string|preamble)\b)\w+\s*\{\s*([^,\s]+)\s*,', re.MULTILINE | re.IGNORECASE)


def keys_of(path: Path) -> Iterator[tuple[str, int]]:
    """Keys of a .bib file and the lines they stand in, read as text: the parser keeps no lines and stops at a repeated key."""
    text = path.read_text(encoding='utf-8')
    for entry in ENTRY.finditer(text):
        yield entry[1], text.count('\n', 0, entry.start(1)) + 1


def line_of(node: nodes.Node) -> int:
    while node is not None and not node.line:
        node = node.parent
    return node.line if node is not None else 0


class CitationsDomain(Domain):
    name = 'citations'
    label = '文献引用'
    data_version = 1
    initial_data: dict[str, Any] = {
        'uses': {},         # docname -> ((key, line), …)
        'lists': set(),     # documents with chapter-references
        'shown': {},        # docname -> labels and entries at the last build
    }

    def process_doc(self, env: BuildEnvironment, docname: str, document: nodes.document) -> None:
        self.data['uses'][docname] = tuple(
            (target.key, line_of(node))
            for node in document.findall(pending_xref) if node.get('refdomain') == 'cite'
            for target in parse_citation_targets(node['reftarget'])
        )
        if next(document.findall(chapter_references), None) is not None:
            self.data['lists'].add(docname)

    def clear_doc(self, docname: str) -> None:
        self.data['uses'].pop(docname, None)
        self.data['lists'].discard(docname)

    def merge_domaindata(self, docnames: Iterable[str], otherdata: dict[str, Any]) -> None:
        for docname in docnames:
            if docname in otherdata['uses']:
                self.data['uses'][docname] = otherdata['uses'][docname]
        self.data['lists'] |= otherdata['lists'] & set(docnames)

    # -- looking up ----------------------------------------------------------------------------------------------------

    def cited_below(self, docname: str) -> list[Citation]:
        """Works cited by a document and all that its toctrees include, in the order of the bibliography."""
        below, waiting = set(), [docname]
        while waiting:
            if (one := waiting.pop()) not in below:
                below.add(one)
                waiting += self.env.toctree_includes.get(one, ())
        keys = {key for one in below for key, _ in self.data['uses'].get(one, ())}
        return [citation for citation in self.env.domains['cite'].citations if citation.key in keys]

    def resolve_any_xref(self, *arguments: object) -> list[tuple[str, nodes.Element]]:
        """Nothing is referred to through this domain; MyST asks every domain."""
        return []

    # -- keeping fresh -------------------------------------------------------------------------------------------------

    def settle(self) -> set[str]:
        """Documents that show a label (2023a for 2023) or an entry other than when last written."""
        cite = self.env.domains['cite']
        entries = {citation.key: (citation.formatted_entry.label, str(citation.formatted_entry.text)) for citation in cite.citations}
        shown = {
            docname: tuple((key, entries.get(key)) for key in sorted({key for key, _ in uses}))
            for docname, uses in self.data['uses'].items()
        }
        for docname in self.data['lists']:
            shown[docname] += tuple((citation.key, entries[citation.key]) for citation in self.cited_below(docname))
        for bibliography in cite.bibliographies:
            shown[bibliography.docname] += tuple(sorted(entries.items()))
        stale = {docname for docname, one in shown.items() if one != self.data['shown'].get(docname, ())}
        self.data['shown'] = shown
        return stale & self.env.found_docs

    # -- consistency ---------------------------------------------------------------------------------------------------

    def check_consistency(self) -> None:
        cite = self.env.domains['cite']
        places: dict[str, tuple[Path, int]] = {}
        for path in cite.bibdata.bibfiles:
            for key, line in keys_of(path) if path.is_file() else ():
                if first := places.get(key.lower()):
                    self.warn('duplicate', f'文献“{key}”已在 {first[0].name} 第 {first[1]} 行定义：删去一处', f'{path}:{line}')
                places.setdefault(key.lower(), (path, line))
        known = list(cite.bibdata.data.entries)
        used = set()
        for docname, uses in sorted(self.data['uses'].items()):
            for key, line in uses:
                used.add(key.lower())
                if key not in known:
                    close = get_close_matches(key, known, 3, 0.6)
                    hint = f'，是不是 {"、".join(close)}' if close else '：在 source/references/ 的 .bib 里加上它'
                    self.warn('undefined', f'没有文献“{key}”{hint}', (docname, line))
        for key, (path, line) in places.items():
            if key not in used:
                self.warn('unused', f'文献“{key}”没有被引用：引用它，或从文件里删去', f'{path}:{line}')
        if used and not cite.bibliographies:
            self.warn('missing', '引用了文献，但全书没有 {bibliography}', None)

    def warn(self, subtype: str, message: str, location: object) -> None:
        logger.warning(message, type='citations', subtype=subtype, location=location)
