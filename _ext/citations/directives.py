"""``{chapter-references}``."""

from __future__ import annotations

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .nodes import chapter_references


class ChapterReferences(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        node = chapter_references(docname=self.env.current_document.docname)
        self.set_source_info(node)
        return [node]
