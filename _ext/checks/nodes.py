"""The mark “已核验”, and how each writer draws it."""

from __future__ import annotations

from docutils import nodes
from sphinx.writers.html5 import HTML5Translator
from sphinx.writers.latex import LaTeXTranslator

WORD = '已核验'


class check_mark(nodes.Inline, nodes.TextElement):  # noqa: N801 - docutils names nodes in lower case
    """``uri`` of the check (may be empty) and ``names`` of the functions. Its text is the word, for writers that know no better."""


class checked_equation(nodes.General, nodes.Element):  # noqa: N801
    """Around an equation that a check names: the equation, then (not in LaTeX) its mark."""


class verification_report(nodes.General, nodes.Element):  # noqa: N801
    """Place of the coverage report; ``docname``."""


def visit_mark_html(self: HTML5Translator, node: check_mark) -> None:
    title = f'由程序核验：{"、".join(node["names"])}'
    if node['uri']:
        self.body.append(self.starttag(node, 'a', '', CLASS='check-mark', href=node['uri'], title=title))
    else:
        self.body.append(self.starttag(node, 'span', '', CLASS='check-mark', title=title))


def depart_mark_html(self: HTML5Translator, node: check_mark) -> None:
    self.body.append('</a>' if node['uri'] else '</span>')


def visit_mark_latex(self: LaTeXTranslator, node: check_mark) -> None:
    self.body.append('\\bookchecked{}')
    raise nodes.SkipNode


def visit_mark_text(self: nodes.NodeVisitor, node: check_mark) -> None:
    self.add_text(f'[{WORD}]')
    raise nodes.SkipNode


def visit_mark_man(self: nodes.NodeVisitor, node: check_mark) -> None:
    self.body.append(f'[{WORD}]')
    raise nodes.SkipNode


def visit_equation_html(self: HTML5Translator, node: checked_equation) -> None:
    self.body.append('<div class="checked-equation">\n')


def depart_equation_html(self: HTML5Translator, node: checked_equation) -> None:
    self.body.append('</div>\n')


def visit_equation_latex(self: LaTeXTranslator, node: checked_equation) -> None:
    self.body.append('\\begingroup\\bookcheckedtag\n')


def depart_equation_latex(self: LaTeXTranslator, node: checked_equation) -> None:
    self.body.append('\n\\endgroup\n')


def ignore(self: nodes.NodeVisitor, node: nodes.Element) -> None:
    pass
