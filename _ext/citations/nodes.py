"""Doctree nodes and their writers."""

from __future__ import annotations

from docutils import nodes
from sphinx.writers.html5 import HTML5Translator
from sphinx.writers.latex import LaTeXTranslator


class reference_entry(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes in lower case
    """One work: a paragraph. ``docname`` and ``ids`` where citations lead to it."""


class chapter_references(nodes.General, nodes.Element):  # noqa: N801
    """Place of the works a chapter cites; ``docname``."""


def visit_entry_html(self: HTML5Translator, node: reference_entry) -> None:
    self.body.append(self.starttag(node, 'div', CLASS='reference-entry'))


def depart_entry_html(self: HTML5Translator, node: reference_entry) -> None:
    self.body.append('</div>\n')


def visit_entry_latex(self: LaTeXTranslator, node: reference_entry) -> None:
    self.body.append('\n\n{\\raggedright\\noindent\\hangindent=2em\\hangafter=1\\relax')
    for one in node['ids']:         # the name that sphinxcontrib-bibtex links to
        self.body.append('\\hypertarget{cite.%s:%s}{}' % (node['docname'], one))


def depart_entry_latex(self: LaTeXTranslator, node: reference_entry) -> None:
    self.body.append('\\par}\n')


def ignore(self: nodes.NodeVisitor, node: nodes.Element) -> None:
    pass
