"""Before writing: captions put on the nodes, hidden blocks taken out, links between exercise and solution, lists filled.

A post-transform works on the copy of the doctree that is about to be written, so nothing here reaches the cached one.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .domain import BlocksDomain
from .facts import Fact, title_nodes
from .kinds import EXERCISE_KINDS, KINDS
from .nodes import block, exercise_list


def meta(fact: Fact) -> str:
    """推导 · 难度 2."""
    return ' · '.join(filter(None, (EXERCISE_KINDS.get(fact.exercise_kind), fact.difficulty and f'难度 {fact.difficulty}')))


class Captions(SphinxPostTransform):
    default_priority = 7        # before references are resolved at 9 and 10

    def run(self, **kwargs: object) -> None:
        domain = self.env.domains['block']
        facts = {(fact.docname, fact.id): fact for fact in domain.in_order()}
        for node in list(self.document.findall(block)):
            fact = facts[node['docname'], node['ids'][0]]
            owner = domain.find(fact.target)
            if fact.hidden or (fact.kind == 'solution' and owner is not None and owner.hidden):
                node.parent.remove(node)
                continue
            node['caption'] = domain.caption(fact)
            if fact.inside:
                # Inside its exercise a hint need not say whose it is, except to who hears the page read.
                node['owner'], _, hint = node['caption'].rpartition(KINDS['hint'].word)
                node['caption'] = KINDS['hint'].word + hint
            if fact.kind == 'exercise':
                self.link(node, domain.solution(fact.label) if fact.label else None, '参见', domain)
            elif fact.kind == 'solution':
                self.link(node, owner, '题目见', domain)

    def link(self, node: block, other: Fact | None, words: str, domain: BlocksDomain) -> None:
        """A line that leads to the other half of the pair, unless that stands right beside."""
        index = node.parent.index(node)
        beside = node.parent.children[max(index - 1, 0):index + 2]
        if other is None or other.hidden or any(isinstance(one, block) and one['ids'][0] == other.id for one in beside):
            return
        reference = domain.reference(self.env.current_document.docname, other, [nodes.Text(domain.caption(other))])
        node += nodes.paragraph('', '', nodes.Text(words), reference, nodes.Text('。'), classes=['block-link'])


class ExerciseLists(SphinxPostTransform):
    default_priority = 7

    def run(self, **kwargs: object) -> None:
        for node in list(self.document.findall(exercise_list)):
            node.replace_self(self.fill(node))

    def fill(self, node: exercise_list) -> nodes.Node:
        domain = self.env.domains['block']
        within = self.scope(node['docname'], node['scope'])
        chosen = [
            fact for fact in domain.in_order()
            if fact.kind == 'exercise' and not fact.hidden and (within is None or fact.docname in within)
            and (not node['exercise_kinds'] or fact.exercise_kind in node['exercise_kinds'])
            and (not node['difficulties'] or fact.difficulty in node['difficulties'])
        ]
        if not chosen:
            return nodes.paragraph('', '没有符合条件的练习。', classes=['exercise-list'])
        items = nodes.bullet_list(classes=['exercise-list'])
        for fact in chosen:
            line = nodes.paragraph('', '', domain.reference(self.env.current_document.docname, fact, [nodes.Text(domain.caption(fact))]))
            if fact.title:
                line += [nodes.Text(' '), nodes.inline('', '', *title_nodes(fact.title), classes=['block-name'])]
            if about := meta(fact):
                line += [nodes.Text(' '), nodes.inline('', f'（{about}）', classes=['block-meta'])]
            items += nodes.list_item('', line)
        return items

    def scope(self, docname: str, scope: str) -> set[str] | None:
        """Names of the documents a list looks into; none for the whole book."""
        if scope == 'book':
            return None
        if scope in ('section', 'doc'):
            return {docname}
        return self.below(self.chapter_of(docname))

    def chapter_of(self, docname: str) -> str:
        """The page under the root that ``docname`` belongs to."""
        root = self.env.config.root_doc
        parents = {child: parent for parent, children in self.env.toctree_includes.items() for child in children}
        while parents.get(docname, root) != root:
            docname = parents[docname]
        return docname

    def below(self, docname: str) -> set[str]:
        found, waiting = set(), [docname]
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting += self.env.toctree_includes.get(one, ())
        return found
