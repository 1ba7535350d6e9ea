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

    from sphinx.environment import BuildEnvironment


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
                root += raw(f'\\Book{matter}Matter')
                root += part


def raw(tex: str) -> nodes.raw:
    return nodes.raw('', tex, format='latex')


def listed_files(node: nodes.Node) -> Iterator[addnodes.start_of_file]:
    """The documents that the root lists, in order; not those that these list in turn.

    Walks down, because the parents of assembled children still point into the trees they came from.
    """
    for child in node.children:
        if isinstance(child, addnodes.start_of_file):
            yield child
        else:
            yield from listed_files(child)


def main_files(root: nodes.section) -> list[addnodes.start_of_file]:
    """The numbered chapters, of a root that :class:`BookMatter` has put in order."""
    found, matter = [], ''
    for child in root.children:
        if isinstance(child, nodes.raw):
            matter = child.astext()
        elif isinstance(child, addnodes.start_of_file) and matter == '\\BookMainMatter':
            found.append(child)
    return found


def walk(file: addnodes.start_of_file) -> Iterator[tuple[addnodes.start_of_file, nodes.Node]]:
    """Every node below ``file`` with the innermost file it stands in."""

    def below(node: nodes.Node, inner: addnodes.start_of_file) -> Iterator[tuple[addnodes.start_of_file, nodes.Node]]:
        for child in node.children:
            if isinstance(child, addnodes.start_of_file):
                yield from below(child, child)
            else:
                yield inner, child
                yield from below(child, inner)

    return below(file, file)


def title_of(file: addnodes.start_of_file) -> list[nodes.Node]:
    title = file.next_node(nodes.title)
    return [child.deepcopy() for child in title.children] if title is not None else []


def number(env: BuildEnvironment, docname: str) -> str:
    """``1.1``; nothing where a document has no number."""
    return '.'.join(map(str, env.toc_secnumbers.get(docname, {}).get('', ())))
