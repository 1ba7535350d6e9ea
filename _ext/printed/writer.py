"""What the book asks of Sphinx's LaTeX writer: the numbers of the web, and the source of every line.

Numbers of figures, tables and equations are written out, also in references: they are those of the other formats by construction,
and an edition that leaves parts out keeps them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.math import wrap_displaymath
from sphinx.writers.latex import LaTeXTranslator

if TYPE_CHECKING:
    from docutils.nodes import Element

CLAUSE_END = re.compile('[。；：]')
LEFT = re.compile('：?(?:[左上]图?[：，])?')      # "看什么：左：…": the side alone would say nothing
CLOSING = tuple('、。，；：！？）】》”’…')
MARK = '%@ '         # begins a comment that names the source of what follows


class BookTranslator(LaTeXTranslator):
    # -- numbers -------------------------------------------------------------------------------------------------------

    def number(self, docname: str, node_id: str) -> str:
        """``1.1.3`` of the figure, table or equation with that id; nothing where it has none."""
        for numbers in self.builder.env.toc_fignumbers.get(docname, {}).values():
            if node_id in numbers:
                return '.'.join(map(str, numbers[node_id]))
        return ''

    def own_number(self, node: Element) -> str:
        return next(filter(None, (self.number(self.curfilestack[-1], one) for one in node['ids'])), '')

    def visit_figure(self, node: Element) -> None:
        self.body.append('\n\\BookNumber{figure}{%s}' % self.own_number(node))
        super().visit_figure(node)

    def depart_table(self, node: Element) -> None:
        self.body.append('\n\\BookNumber{table}{%s}\\BookTableLines{%s}' % (self.own_number(node), node.get('lines', 99)))
        super().depart_table(node)

    def visit_caption(self, node: Element) -> None:
        super().visit_caption(node)
        if isinstance(node.parent, nodes.figure) and self.body[-1] == r'\caption{':
            self.pushbody([])
            for child in short(node):
                child.walkabout(self)
            title = ''.join(self.popbody())
            self.body[-1] = r'\caption[{%s}]{' % title

    def visit_math_block(self, node: Element) -> None:
        self.mark_source(node)
        if node.get('label') and not node.get('no-wrap', node.get('nowrap')):
            tex = wrap_displaymath(node.astext(), None, False)
            label = r'\tag{%s}%s' % (self.number(node['docname'], node['ids'][0]), self.hypertarget(node['ids'][0], anchor=False))
            begin = tex.index('}') + 1
            self.body.append(tex[:begin] + label + tex[begin:])
            raise nodes.SkipNode
        super().visit_math_block(node)

    def visit_math_reference(self, node: Element) -> None:
        node_id = nodes.make_id(f'equation-{node["target"]}')
        number = (self.config.math_eqref_format or '({number})').format(number=self.number(node['docname'], node_id))
        self.body.append(r'\hyperref[%s]{%s}' % (self.idescape(f'{node["docname"]}:{node_id}'), number))
        raise nodes.SkipNode

    def visit_number_reference(self, node: Element) -> None:
        target = node['refuri'][1:] if node.get('refuri') else f'{self.curfilestack[-1]}#{node["refid"]}'
        if self.number(*target.split('#')):
            self.body.append(r'\hyperref[%s]{%s}' % (self.idescape(target.replace('#', ':')), self.encode(node.astext())))
            raise nodes.SkipNode
        super().visit_number_reference(node)

    def visit_index(self, node: Element) -> None:
        raise nodes.SkipNode        # the subject index is made by ``index``

    # -- punctuation ---------------------------------------------------------------------------------------------------

    def visit_Text(self, node: nodes.Text) -> None:
        # xeCJK forgets at the end of a link what stood there, and would break the line before the punctuation.
        if node.parent is not None and node.astext()[:1] in CLOSING and not self.in_parsed_literal:
            before = node.parent.index(node) - 1
            if before >= 0 and not isinstance(node.parent[before], (nodes.Text, nodes.math)):
                self.body.append('\\nobreak{}')
        super().visit_Text(node)

    # -- source --------------------------------------------------------------------------------------------------------

    def mark_source(self, node: Element) -> None:
        """A comment that names the source, for the message when TeX stops."""
        if node.line and node.source and not self.in_title and not self.in_caption:
            source = Path(node.source)
            name = source.relative_to(self.builder.srcdir) if source.is_relative_to(self.builder.srcdir) else source.name
            # Never an empty line: in a paragraph that would end it before a display.
            start = '' if ''.join(self.body[-2:]).endswith('\n') else '\n'
            self.body.append(f'{start}{MARK}{name}:{node.line}\n')

    def visit_paragraph(self, node: Element) -> None:
        self.mark_source(node)
        super().visit_paragraph(node)

    def visit_row(self, node: Element) -> None:
        self.mark_source(node.next_node(nodes.paragraph) or node)
        super().visit_row(node)


def short(caption: Element) -> list[nodes.Node]:
    """For the list of figures: the first clause, without links, marks and the words that every caption begins with."""
    found: list[nodes.Node] = []
    for child in caption.children:
        if isinstance(child, nodes.math):
            found.append(child)
        elif child.tagname in ('strong', 'check_mark', 'raw'):
            continue
        elif text := child.astext() if found else LEFT.sub('', child.astext(), count=1):
            clause, *rest = CLAUSE_END.split(text, maxsplit=1)
            found.append(nodes.Text(clause))
            if rest:
                break
    return found
