"""Hints and solutions at the back of the book: moved, not copied, grouped by chapter and section, with page references both ways.

The hints have a chapter of their own before the solutions, so that who looks one up does not see the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blocks.facts import title_nodes
from blocks.nodes import block
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .structure import main_files, number, raw, title_of, walk

if TYPE_CHECKING:
    from blocks.facts import Fact
    from sphinx.writers.latex import LaTeXTranslator

CHAPTERS = {'hint': '练习提示', 'solution': '练习解答'}
WORDS = {'hint': '提示', 'solution': '解答'}

Key = tuple[str, str]


class origin(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes in lower case
    """Around what comes from another file, whose name is part of the labels: ``docname``."""


def visit_origin(self: LaTeXTranslator, node: origin) -> None:
    self.curfilestack.append(node['docname'])


def depart_origin(self: LaTeXTranslator, node: origin) -> None:
    self.curfilestack.pop()


class MoveAnswers(SphinxPostTransform):
    default_priority = 8        # after blocks got their captions, before references are resolved
    formats = ('latex',)

    def run(self, **kwargs: object) -> None:
        root = self.document.next_node(nodes.section)
        files = main_files(root) if root is not None and self.config.printed_answers_at_back else []
        if not files:
            return
        self.facts = {(fact.docname, fact.id): fact for fact in self.env.domains['block'].in_order()}
        found = [node for file in files for _, node in walk(file) if isinstance(node, block)]
        self.exercises = {key(node): node for node in found if node['kind'] == 'exercise'}
        back = []
        for kind, title in CHAPTERS.items():
            blocks = [node for node in found if node['kind'] == kind]
            if sections := [section for file in files if (section := self.chapter(kind, file, blocks))]:
                back.append(nodes.section('', nodes.title(title, title), *sections, ids=[f'answers-{kind}']))
        if back:
            at = root.index(files[-1]) + 1
            root[at:at] = [raw('\\BookAnswersMatter'), *back]

    def chapter(self, kind: str, file: addnodes.start_of_file, blocks: list[block]) -> nodes.section | None:
        """What belongs to the exercises of a chapter, under its title, section by section."""
        titles = {inner['docname']: inner for inner, _ in walk(file)}
        section = nodes.section('', nodes.title('', f'第 {number(self.env, file["docname"])} 章　', *title_of(file)), ids=[self.id(kind, file['docname'])])
        for docname, inner in titles.items():
            group = [origin('', self.take(node), docname=node['docname']) for node in blocks if self.home(node) == docname]
            if group and docname != file['docname']:
                title = nodes.title('', f'{number(self.env, docname)}　', *title_of(inner))
                group = [nodes.section('', title, *group, ids=[self.id(kind, docname)])]
            section += group
        return section if len(section) > 1 else None

    def home(self, node: block) -> str:
        """The document of the exercise that a block belongs to."""
        owner = self.owner(node)
        return owner.docname if owner is not None else node['docname']

    def owner(self, node: block) -> Fact | None:
        return self.env.domains['block'].find(self.facts[key(node)].target)

    def id(self, kind: str, docname: str) -> str:
        return nodes.make_id(f'answers-{kind}-{docname}')

    def take(self, node: block) -> block:
        """Remove a block from its place; it and its exercise are told each other's page."""
        node.parent.remove(node)
        for line in list(node.findall(nodes.paragraph)):
            if 'block-link' in line['classes']:
                line.parent.remove(line)
        node['caption'] = node.attributes.pop('owner', '') + node['caption']
        owner = self.owner(node)
        exercise = self.exercises.get((owner.docname, owner.id)) if owner is not None else None
        if exercise is not None:
            node[0].children = node[0].children or title_nodes(owner.title)
            node['pages'] = [('练习', f'{owner.docname}:{owner.id}')]
            seen = exercise.setdefault('pages', [])
            if all(word != WORDS[node['kind']] for word, _ in seen):
                seen.append((WORDS[node['kind']], ':'.join(key(node))))
            for line in [child for child in exercise.children if 'block-link' in child.get('classes', ())]:
                exercise.remove(line)
        return node


def key(node: block) -> Key:
    return node['docname'], node['ids'][0]
