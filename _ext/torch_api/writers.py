"""The node of a PyTorch name, and how each writer shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from docutils.nodes import Element


class api_name(nodes.literal):
    """A dotted name as code; it may break after its dots and underscores, or it would not fit a phone or a table."""


def visit_html(self, node: Element) -> None:
    self.body.append(self.starttag(node, 'code', '', CLASS='docutils literal notranslate'))
    self.body.append(breakable(self.encode(node.astext()), '<wbr />'))
    self.body.append('</code>')
    raise nodes.SkipNode


def visit_latex(self, node: Element) -> None:
    self.body.append(rf'\sphinxcode{{\sphinxupquote{{{breakable(self.encode(node.astext()), chr(92) + "allowbreak{}")}}}}}')
    raise nodes.SkipNode


def breakable(text: str, mark: str) -> str:
    return text.replace('.', f'.{mark}').replace('_', f'_{mark}')


def plain(name: str) -> tuple:
    """Other writers show it as the literal it is."""
    return (lambda self, node: getattr(self, f'visit_{name}')(node)), (lambda self, node: getattr(self, f'depart_{name}')(node))
