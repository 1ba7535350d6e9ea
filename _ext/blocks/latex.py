"""LaTeX: one environment of ``bookblocks.sty`` for each look; numbers are ours, so that print agrees with the page."""

from __future__ import annotations

from sphinx.writers.latex import LaTeXTranslator

from .kinds import EXERCISE_KINDS, KINDS
from .nodes import block, block_title

# Of the theorem family, what is stated is tinted; what only illustrates is not.
LOOKS = {'example': 'aside', 'algorithm': 'aside', 'remark': 'aside'}


def visit_block(self: LaTeXTranslator, node: block) -> None:
    self.body.append('\n\n\\begin{bookblock}{%s}%%\n' % LOOKS.get(node['kind'], KINDS[node['kind']].family))
    # Sphinx then sets figures and tables inside where they stand: a float cannot live in a box.
    self.no_latex_floats += 1


def visit_block_title(self: LaTeXTranslator, node: block_title) -> None:
    parent = node.parent
    self.body.append(self.hypertarget(parent['ids'][0]) + '%\n')
    self.pushbody([])


def depart_block_title(self: LaTeXTranslator, node: block_title) -> None:
    parent = node.parent
    caption, title, difficulty = self.encode(parent['caption']), ''.join(self.popbody()), parent.get('difficulty', '')
    word = EXERCISE_KINDS.get(parent.get('exercise_kind', ''), '')
    if parent['kind'] == 'exercise':
        self.body.append('\\bookblocklist{%s}{%s}{%s}%%\n' % (caption, title, difficulty))
    elif parent.get('pages'):
        word = pages(self, parent)
    self.body.append('\\bookblocktitle{%s}{%s}{%s}{%s}\n' % (caption, title, word, difficulty))


def pages(self: LaTeXTranslator, node: block) -> str:
    """解答见第 75 页: ``pages`` of a block are pairs of such a word and the target it leads to."""
    return '，'.join(r'\hyperref[%s]{%s见第~\pageref*{%s}~页}' % (label, word, label) for word, label in (
        (word, self.idescape(target)) for word, target in node['pages']
    ))


def depart_block(self: LaTeXTranslator, node: block) -> None:
    self.no_latex_floats -= 1
    # No empty line before the end: the square of a proof belongs on the last line of its text.
    if not self.body[-1].endswith('\n'):
        self.body.append('%\n')
    if node['kind'] == 'exercise' and node.get('pages'):
        self.body.append('\\bookblockpages{%s}%%\n' % pages(self, node))
    self.body.append('\\end{bookblock}\n\n')
