"""Text, man and Texinfo: a line with caption, kind and difficulty, then the body."""

from __future__ import annotations

from docutils.nodes import TextElement
from sphinx.writers.manpage import ManualPageTranslator
from sphinx.writers.texinfo import TexinfoTranslator
from sphinx.writers.text import TextTranslator

from .kinds import EXERCISE_KINDS
from .nodes import block, block_title

INDENT = 3


def heading(node: block) -> str:
    """练习 1.1.3（计算，难度 2）, and a space where a title follows."""
    about = [EXERCISE_KINDS.get(node.get('exercise_kind', '')), f'难度 {node["difficulty"]}' if 'difficulty' in node else '']
    about = '，'.join(filter(None, about))
    return node['caption'] + (f'（{about}）' if about else '') + (' ' if len(node[0]) else '')


def visit_text(self: TextTranslator, node: block) -> None:
    self.new_state(0)


def depart_text(self: TextTranslator, node: block) -> None:
    self.end_state()
    self.end_state(wrap=False)


def visit_text_title(self: TextTranslator, node: block_title) -> None:
    self.new_state(0)
    self.add_text(heading(node.parent))


def depart_text_title(self: TextTranslator, node: block_title) -> None:
    self.end_state()
    self.new_state(INDENT)


def visit_man(self: ManualPageTranslator, node: block) -> None:
    pass


def visit_man_title(self: ManualPageTranslator, node: block_title) -> None:
    self.ensure_eol()
    self.body.append('.sp\n')
    strong = TextElement()
    self.visit_strong(strong)
    self.body.append(self.deunicode(heading(node.parent)))


def depart_man_title(self: ManualPageTranslator, node: block_title) -> None:
    self.depart_strong(node)
    self.body.append('\n')
    self.indent(INDENT)


def depart_man(self: ManualPageTranslator, node: block) -> None:
    self.dedent()


def visit_texinfo(self: TexinfoTranslator, node: block) -> None:
    self.body.append('\n\n')
    self.add_anchor(node['ids'][0], node)


def visit_texinfo_title(self: TexinfoTranslator, node: block_title) -> None:
    self.body.append('\n@noindent\n@strong{' + self.escape(heading(node.parent)))


def depart_texinfo_title(self: TexinfoTranslator, node: block_title) -> None:
    self.body.append('}\n\n')


def depart_texinfo(self: TexinfoTranslator, node: block) -> None:
    self.body.append('\n\n')
