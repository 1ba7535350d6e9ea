"""Before a page of the web site is written: a place for the form at the end of each exercise, one for the bar before the first."""

from __future__ import annotations

from answers import parse
from blocks.nodes import block
from sphinx.transforms.post_transforms import SphinxPostTransform

from .fields import field
from .nodes import BUILDERS, selftest_place


class Places(SphinxPostTransform):
    default_priority = 8        # after blocks has taken hidden ones out and put links at their ends
    formats = ('html',)

    def run(self, **kwargs: object) -> None:
        if self.env._app.builder.name not in BUILDERS:
            return
        exercises = [node for node in self.document.findall(block) if node['kind'] == 'exercise']
        for node in exercises:
            node += selftest_place(part='form', facts=self.facts(node))
        if exercises:
            first = exercises[0]
            first.parent.insert(first.parent.index(first), selftest_place(part='bar', facts=self.review()))

    def facts(self, node: block) -> dict[str, object]:
        node_id = node['ids'][0]
        statement = self.env.domains['selftest'].statement(node['docname'], node_id)
        facts: dict[str, object] = {'exercise': node_id, 'statement': statement}
        solution = self.env.domains['block'].solution(node['label']) if node['label'] else None
        if solution and solution.answer and self.config.selftest_forms:
            facts['fields'] = [field(answer, f'{node_id}:{statement}') for answer in parse(solution.answer).values()]
        return facts

    def review(self) -> dict[str, object]:
        page = self.config.selftest_review
        builder = self.env._app.builder
        return {'review': builder.get_relative_uri(self.env.current_document.docname, page)} if page in self.env.found_docs else {}
