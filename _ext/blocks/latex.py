"""LaTeX: one environment of ``bookblocks.sty`` for each family; numbers are ours, so that print agrees with the page."""

from __future__ import annotations

from sphinx.writers.latex import LaTeXTranslator

from .kinds import EXERCISE_KINDS, KINDS
from .nodes import block, block_title


def visit_block(self: LaTeXTranslator, node: block) -> None:
    self.body.append('\n\n\\begin{bookblock}{%s}%%\n' % KINDS[node['kind']].family)
    # Sphinx then sets figures and tables inside where they stand: a float cannot live in a box.
    self.no_latex_floats += 1


def visit_block_title(self: LaTeXTranslator, node: block_title) -> None:
    parent = node.parent
    self.body.append(self.hypertarget(parent['ids'][0]) + '%\n')
    self.body.append('\\bookblocktitle{%s}{' % self.encode(parent['caption']))


def depart_block_title(self: LaTeXTranslator, node: block_title) -> None:
    parent = node.parent
    word = EXERCISE_KINDS.get(parent.get('exercise_kind', ''), '')
    self.body.append('}{%s}{%s}\n' % (word, parent.get('difficulty', '')))


def depart_block(self: LaTeXTranslator, node: block) -> None:
    self.no_latex_floats -= 1
    # No empty line before the end: the square of a proof belongs on the last line of its text.
    if not self.body[-1].endswith('\n'):
        self.body.append('%\n')
    self.body.append('\\end{bookblock}\n\n')
