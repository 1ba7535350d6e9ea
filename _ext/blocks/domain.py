"""The domain: facts about every block of the book, its numbers, references to it, and which pages an edit makes stale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.builders import Builder
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.errors import NoUri
from sphinx.util.nodes import make_refnode

from . import consistency, numbering
from .directives import DIRECTIVES
from .facts import Fact, outline, title_nodes, title_text
from .kinds import KINDS, OF
from .nodes import block, exercise_list

Use = tuple[str, str]       # ('label', x): shows the number or title of x; ('solution', x): shows where x is solved


class BlocksDomain(Domain):
    name = 'block'
    label = '编号块'
    object_types = {kind: ObjType(entry.word) for kind, entry in KINDS.items()}
    data_version = 1
    initial_data: dict[str, Any] = {
        'outlines': {},     # docname -> facts and included documents, in order
        'uses': {},         # docname -> what its pages show of blocks
        'listings': set(),  # documents with an exercise-list
        'numbers': {},      # (docname, id) -> (word, number), a snapshot all writers read
        'shown': {},        # Use -> what was shown at the last build
        'listed': (),       # what a list of all exercises showed
    }

    _index: dict[Use, Fact] | None = None       # built when first asked for, dropped with every change

    # -- collecting ----------------------------------------------------------------------------------------------------

    def note(self, docname: str, doctree: nodes.document) -> None:
        self._index = None
        self.data['outlines'][docname] = tuple(outline(docname, doctree))
        uses: set[Use] = set()
        for node in doctree.findall(block):
            uses.add(('label', node['target']))
            uses.add(('solution', node['label']))
        for node in doctree.findall(addnodes.pending_xref):
            uses.add(('label', nodes.fully_normalize_name(node['reftarget'])))
        self.data['uses'][docname] = uses
        if next(doctree.findall(exercise_list), None) is not None:
            self.data['listings'].add(docname)

    def clear_doc(self, docname: str) -> None:
        self._index = None
        self.data['outlines'].pop(docname, None)
        self.data['uses'].pop(docname, None)
        self.data['listings'].discard(docname)

    def merge_domaindata(self, docnames: Iterable[str], otherdata: dict[str, Any]) -> None:
        self._index = None
        for docname in docnames:
            if docname in otherdata['outlines']:
                self.data['outlines'][docname] = otherdata['outlines'][docname]
                self.data['uses'][docname] = otherdata['uses'][docname]
        self.data['listings'] |= otherdata['listings'] & set(docnames)

    # -- looking up ----------------------------------------------------------------------------------------------------

    def in_order(self) -> list[Fact]:
        """Every block in reading order."""
        return [fact for _, fact, _ in numbering.reading_order(self.data['outlines'], self.env.config.root_doc)]

    @property
    def facts(self) -> dict[str, Fact]:
        """Blocks by label; of several with one label the first in the book."""
        found: dict[str, Fact] = {}
        for fact in self.in_order():
            if fact.label:
                found.setdefault(fact.label, fact)
        return found

    @property
    def index(self) -> dict[Use, Fact]:
        """Facts as pages use them."""
        if self._index is None:
            self._index = {('label', label): fact for label, fact in self.facts.items()}
            for fact in self.in_order():
                if fact.kind == 'solution':
                    self._index.setdefault(('solution', fact.target), fact)
        return self._index

    def find(self, label: str) -> Fact | None:
        return self.index.get(('label', label))

    def solution(self, label: str) -> Fact | None:
        return self.index.get(('solution', label))

    def numbered(self, fact: Fact) -> tuple[str, str]:
        """Word and number of a block, the number empty where it has none."""
        return self.data['numbers'].get((fact.docname, fact.id), (KINDS[fact.kind].word, ''))

    def number(self, label: str) -> str:
        """``1.1.3``, or nothing for a label that is unknown or names a block without number."""
        fact = self.find(label)
        return self.numbered(fact)[1] if fact else ''

    def caption(self, fact: Fact) -> str:
        """练习 1.1.3, 练习 1.1.3 的解答, 练习 1.1.3 的提示 2, 证明."""
        word, number = self.numbered(fact)
        if fact.kind not in OF:
            return f'{word} {number}'.rstrip()
        ordinal = f' {fact.ordinal}' if fact.ordinal else ''
        owner = self.find(fact.target)
        if not fact.target or owner is None or owner.kind in OF:
            return word + ordinal
        owner_word, owner_number = self.numbered(owner)
        if owner_number:
            return f'{owner_word} {owner_number} {OF[fact.kind]}{ordinal}'
        return owner_word + (f'“{title_text(owner.title)}”' if owner.title else '') + OF[fact.kind] + ordinal

    # -- references ----------------------------------------------------------------------------------------------------

    def shown_as(self, fact: Fact) -> list[nodes.Node]:
        """Text of a reference without one: the caption, or the title of a block without number."""
        if not self.numbered(fact)[1] and fact.kind not in OF and fact.title:
            return title_nodes(fact.title)
        return [nodes.Text(self.caption(fact))]

    def reference(self, fromdocname: str, fact: Fact, content: list[nodes.Node], classes: Iterable[str] = ()) -> nodes.Element:
        inner = nodes.inline('', '', *content, classes=['std', 'std-ref', *classes])
        try:
            return make_refnode(self.env._app.builder, fromdocname, fact.docname, fact.id, inner, title_text(fact.title) or None)
        except NoUri:
            return inner

    def resolve_label(self, fromdocname: str, node: addnodes.pending_xref) -> nodes.Element | None:
        """``{ref}``, ``{numref}`` and ``[](#…)``; ``%s``, ``{number}`` and ``{name}`` in the text of a ``{numref}`` are filled in."""
        fact = self.find(nodes.fully_normalize_name(node['reftarget']))
        if fact is None or fact.hidden:
            return None
        if not node.get('refexplicit'):
            return self.reference(fromdocname, fact, self.shown_as(fact))
        if node['reftype'] == 'numref':
            return self.reference(fromdocname, fact, list(self.fill(fact, node.astext())))
        return self.reference(fromdocname, fact, [child.deepcopy() for child in node[0].children])

    def fill(self, fact: Fact, template: str) -> Iterator[nodes.Node]:
        for piece in re.split(r'(%s|\{number\}|\{name\})', template):
            if piece in ('%s', '{number}'):
                yield nodes.Text(self.numbered(fact)[1])
            elif piece == '{name}':
                yield from title_nodes(fact.title)
            elif piece:
                yield nodes.Text(piece)

    def resolve_any_xref(
        self, env: BuildEnvironment, fromdocname: str, builder: Builder, target: str, node: addnodes.pending_xref, contnode: nodes.Element,
    ) -> list[tuple[str, nodes.Element]]:
        found = self.resolve_label(fromdocname, node)
        return [('block:ref', found)] if found is not None else []

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        for label, fact in self.facts.items():
            if not fact.hidden:
                name = ' '.join(filter(None, (self.caption(fact), title_text(fact.title))))
                yield label, name, fact.kind, fact.docname, fact.id, 1

    # -- keeping fresh -------------------------------------------------------------------------------------------------

    def settle(self) -> set[str]:
        """Number everything anew; return the documents whose pages show something that is no longer so."""
        config, old_numbers, old_shown = self.env.config, self.data['numbers'], self.data['shown']
        depth = config.numfig_secnum_depth if config.blocks_secnum_depth is None else config.blocks_secnum_depth
        self.data['numbers'] = numbers = numbering.assign(
            self.data['outlines'], config.root_doc, self.env.toc_secnumbers, depth, config.blocks_counters,
        )
        # Where a block stands in its file does not show on other pages.
        shown = {use: (fact._replace(line=0, sections=()), self.caption(fact)) for use, fact in self.index.items()}
        self.data['shown'] = shown
        changed = {use for use in shown.keys() | old_shown.keys() if shown.get(use) != old_shown.get(use)}
        stale = {key[0] for key in numbers.keys() | old_numbers.keys() if numbers.get(key) != old_numbers.get(key)}
        stale |= {docname for docname, uses in self.data['uses'].items() if uses & changed}
        listed = tuple(self.listed())
        if listed != self.data['listed']:
            self.data['listed'] = listed
            stale |= self.data['listings']
        return stale & self.env.found_docs

    def listed(self) -> Iterator[tuple]:
        for fact in self.in_order():
            if fact.kind == 'exercise':
                title = self.env.titles[fact.docname].astext()
                section = self.env.toc_secnumbers.get(fact.docname, {}).get('')
                yield fact._replace(line=0, sections=()), self.caption(fact), title, section

    def check_consistency(self) -> None:
        consistency.check(self)
