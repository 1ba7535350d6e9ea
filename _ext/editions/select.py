"""What stays: everything but hints and solutions, or exercises with their solutions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blocks.nodes import block
from docutils import nodes
from printed.answers import origin
from printed.structure import walk
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .domain import WITHHELD

if TYPE_CHECKING:
    from collections.abc import Iterator


class WithoutAnswers(SphinxPostTransform):
    default_priority = 4        # before anything looks at the page

    def run(self, **kwargs: object) -> None:
        if self.config.edition != 'student':
            return
        asked_inside: set[tuple[str, str]] = set()
        for node in list(self.document.findall(block)):
            if node['kind'] in WITHHELD and node.parent is not None:
                asked_inside |= {note_of(mark) for mark in node.findall(nodes.footnote_reference)}
                node.parent.remove(node)
        self.remove_notes(asked_inside)

    def remove_notes(self, asked_inside: set[tuple[str, str]]) -> None:
        """Footnotes stand at the end of the page: those that only what is gone asked for go with it, and the line above them with the last."""
        marks = list(self.document.findall(nodes.footnote_reference))
        left, ids = {note_of(mark) for mark in marks}, {one for mark in marks for one in mark['ids']}
        for note in list(self.document.findall(nodes.footnote)):
            keys = {(note['docname'], one) for one in note['ids']}
            if keys & left:
                note['backrefs'] = [one for one in note['backrefs'] if one in ids]
            elif keys & asked_inside:
                note.parent.remove(note)
        for line in list(self.document.findall(nodes.transition)):
            following = line.parent[line.parent.index(line) + 1:]
            if 'footnotes' in line['classes'] and not any(isinstance(one, nodes.footnote) for one in following):
                line.parent.remove(line)


class WithoutReturnLinks(SphinxPostTransform):
    """The line that leads from an exercise to its solution."""

    default_priority = 8        # after blocks drew it

    def run(self, **kwargs: object) -> None:
        if self.config.edition == 'full':
            return
        for line in list(self.document.findall(nodes.paragraph)):
            if 'block-link' in line['classes']:
                line.parent.remove(line)


def note_of(mark: nodes.footnote_reference) -> tuple[str, str]:
    return mark['docname'], mark.get('refid', '')


class AnswersOnly(SphinxPostTransform):
    default_priority = 6        # when the parts of the printed book are in order
    formats = ('latex',)

    def run(self, **kwargs: object) -> None:
        root = self.document.next_node(nodes.section)
        if self.config.edition != 'answers' or root is None:
            return
        files = [child for child in root.children if isinstance(child, addnodes.start_of_file)]
        blocks = {id(node): (inner['docname'], node) for file in files for inner, node in walk(file) if isinstance(node, block)}
        self.solutions = {node['target']: pair for pair in blocks.values() if (node := pair[1])['kind'] == 'solution'}
        matter = ''
        kept: list[nodes.Node] = []
        for child in root.children:
            if isinstance(child, nodes.raw):
                matter = child.astext()
            elif isinstance(child, addnodes.start_of_file):
                if matter == '\\BookMainMatter':
                    child.children = list(self.keep(child))
                elif not has_references(child):
                    continue
            kept.append(child)
        root.children = [child for child in kept if not (isinstance(child, nodes.raw) and child.astext() == '\\BookFrontMatter')]

    def keep(self, node: nodes.Node) -> Iterator[nodes.Node]:
        """Titles of chapters and sections, and exercises, each followed by its solution."""
        for child in node.children:
            if isinstance(child, addnodes.start_of_file):
                child.children = list(self.keep(child))
                yield child
            elif isinstance(child, nodes.section) and isinstance(node, addnodes.start_of_file):
                title = child.next_node(nodes.title)
                child.children = [title, *(one for one in self.keep(child) if one is not title)]
                yield child
            elif isinstance(child, nodes.footnote):
                yield child         # printed where an exercise or solution asks for it
            elif isinstance(child, block) and child['kind'] == 'exercise':
                yield child
                if child['label'] in self.solutions:
                    docname, solution = self.solutions[child['label']]
                    yield origin('', solution, docname=docname)
            elif not isinstance(child, block):
                yield from self.keep(child)


def has_references(file: addnodes.start_of_file) -> bool:
    """The list of works, to which citations lead."""
    return any(node.tagname in ('citation', 'bibliography', 'reference_entry') for node in file.findall(nodes.Element))
