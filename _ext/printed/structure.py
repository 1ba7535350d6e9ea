"""The order of a book: front matter, numbered chapters, back matter.

On the web the root document is a home page. In print its own text is dropped, and the documents it lists become chapters:
those before the first numbered one are front matter, those after the last are back matter, neither numbered, as on the web.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from collections.abc import Iterator


class BookMatter(SphinxPostTransform):
    """Reduce the assembled root document to its toctrees and mark where the parts of the book begin."""

    default_priority = 5  # before references are resolved, so that what is dropped warns of nothing
    formats = ('latex',)

    def run(self, **kwargs: object) -> None:
        root = self.document.next_node(nodes.section)
        if root is None or not (files := list(listed_files(root))):
            return
        numbered = [bool(self.env.toc_secnumbers.get(file.get('docname'))) for file in files]
        first = numbered.index(True) if True in numbered else len(files)
        last = len(files) - numbered[::-1].index(True) if True in numbered else len(files)
        root.children = [root.next_node(nodes.title)]
        for matter, part in (('Front', files[:first]), ('Main', files[first:last]), ('Back', files[last:])):
            if part:
                root += nodes.raw('', f'\\Book{matter}Matter', format='latex')
                root += part


def listed_files(node: nodes.Node) -> Iterator[addnodes.start_of_file]:
    """The documents that the root lists, in order; not those that these list in turn.

    Walks down, because the parents of assembled children still point into the trees they came from.
    """
    for child in node.children:
        if isinstance(child, addnodes.start_of_file):
            yield child
        else:
            yield from listed_files(child)
