"""``{verification-report}``: how much of each section a program recomputes, kind by kind, and by which function."""

from __future__ import annotations

from collections.abc import Iterator

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from .facts import Fact
from .nodes import verification_report
from .scan import Function

COLUMNS = {'exercise': '计算题', 'example': '例', 'derived': '定理等', 'equation': '公式', 'table': '表', 'figure': '图'}


class VerificationReport(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [verification_report(docname=self.env.current_document.docname)]


class Reports(SphinxPostTransform):
    default_priority = 5            # the references it makes are resolved at 9 and 10

    def run(self, **kwargs: object) -> None:
        for node in list(self.document.findall(verification_report)):
            node.replace_self(list(self.fill(node['docname'])))

    def fill(self, report: str) -> Iterator[nodes.Node]:
        domain = self.env.domains['checks']
        by_label, facts = domain.by_label, domain.facts()
        sections: dict[str, list[Fact]] = {docname: [] for docname in self.reading_order()}
        for docname, fact in facts.values():
            if counts(fact, by_label):
                sections[docname].append(fact)
        sections = {docname: found for docname, found in sections.items() if found}
        if not sections:
            yield nodes.paragraph('', '还没有可以核验的内容。')
            return
        yield self.table(report, sections, by_label)
        for docname, found in sections.items():
            if any(fact.label in by_label for fact in found):
                yield nodes.paragraph('', '', nodes.strong('', '', self.link(report, docname)), classes=['check-section'])
                yield self.listing(report, found, by_label)

    def reading_order(self) -> list[str]:
        relations = self.env.collect_relations()
        order, docname = [], self.env.config.root_doc
        while docname:
            order.append(docname)
            docname = relations[docname][2] if docname in relations else None
        return [*order, *sorted(self.env.found_docs - set(order))]

    def link(self, report: str, docname: str) -> nodes.Node:
        number = '.'.join(map(str, self.env.toc_secnumbers.get(docname, {}).get('', ()) or ()))
        text = nodes.Text(f'{number} {self.env.titles[docname].astext()}'.strip())
        return make_refnode(self.env._app.builder, report, docname, '', text)

    def table(self, report: str, sections: dict[str, list[Fact]], by_label: dict[str, list[Function]]) -> nodes.table:
        body = [self.row(self.link(report, docname), found, by_label) for docname, found in sections.items()]
        everything = [fact for found in sections.values() for fact in found]
        body.append(self.row(nodes.strong('', '全书'), everything, by_label))
        head = nodes.row('', *(nodes.entry('', nodes.paragraph('', word)) for word in ('节', *COLUMNS.values())))
        group = nodes.tgroup(
            '', nodes.colspec(colwidth=28), *(nodes.colspec(colwidth=12) for _ in COLUMNS), nodes.thead('', head), nodes.tbody('', *body),
            cols=1 + len(COLUMNS),
        )
        return nodes.table('', group, classes=['check-report', 'colwidths-given'])

    def row(self, first: nodes.Node, facts: list[Fact], by_label: dict[str, list[Function]]) -> nodes.row:
        row = nodes.row('', nodes.entry('', nodes.paragraph('', '', first)))
        for column in COLUMNS:
            labels = [fact.label for fact in facts if fact.column == column]
            text = f'{sum(label in by_label for label in labels)}/{len(labels)}' if labels else '—'
            row += nodes.entry('', nodes.paragraph('', text))
        return row

    def listing(self, report: str, facts: list[Fact], by_label: dict[str, list[Function]]) -> nodes.bullet_list:
        items = nodes.bullet_list(classes=['check-list'])
        for fact in facts:
            if fact.label in by_label:
                line = nodes.paragraph('', '', self.reference(report, fact), nodes.Text('：'))
                for index, function in enumerate(by_label[fact.label]):
                    line += [*([nodes.Text('、')] if index else []), self.source(report, function)]
                items += nodes.list_item('', line)
        return items

    def reference(self, report: str, fact: Fact) -> nodes.Node:
        domain, kind = ('math', 'eq') if fact.kind == 'equation' else ('std', 'numref' if fact.kind in ('figure', 'table') else 'ref')
        xref = addnodes.pending_xref(
            '', nodes.inline('', fact.label), refdomain=domain, reftype=kind, reftarget=fact.label, refdoc=report,
            refexplicit=False, refwarn=True,
        )
        return nodes.inline('', '', nodes.Text('式 '), xref) if fact.kind == 'equation' else xref

    def source(self, report: str, function: Function) -> nodes.Node:
        literal = nodes.literal('', function.name)
        if self.env._app.builder.name not in ('html', 'dirhtml') or not self.config.checks_pages:
            return literal
        uri = f'{self.env._app.builder.get_relative_uri(report, function.page)}#{function.name}'
        return nodes.reference('', '', literal, refuri=uri, internal=True)


def counts(fact: Fact, by_label: dict[str, list[Function]]) -> bool:
    """Whether a thing belongs in the report: of examples those with a declared answer or a check, of exercises the computed ones."""
    return fact.label in by_label or (bool(fact.column) and (fact.kind != 'example' or fact.answered))
