"""Print: the same macros as a package, and titles whose bookmarks can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util import texescape

from .domain import tex_of
from .macros import PACKAGE, for_latex

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.latex import LaTeXTranslator

    from .domain import title_math


def visit_title_math(self: LaTeXTranslator, node: title_math) -> None:
    tex = tex_of(node)
    if self.in_title:
        plain = texescape.escape(node.astext(), self.config.latex_engine)
        self.body.append(rf'\texorpdfstring{{\({tex}\)}}{{{plain}}}')
    else:
        self.body.append(rf'\({tex}\)')
    raise nodes.SkipNode


def write_macros(app: Sphinx) -> None:
    if app.builder.format == 'latex':
        Path(app.outdir, f'{PACKAGE}.sty').write_text(for_latex(), encoding='utf-8')
