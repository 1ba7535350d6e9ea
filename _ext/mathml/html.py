"""Pages: formulas as MathML, the equation number beside its own scrolling box, the font fetched early.

What the author wrote is kept for whoever copies a formula: inside the formula in an EPUB, for a web page in a file of its own
(``_tex/<page>.js``), which ``math.js`` fetches when a reader begins to select; in the page it would be a sixth of its weight.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.locale import _
from sphinx.util.math import get_node_equation_number

from . import font
from .convert import MathError, convert, convert_strictly, with_tex
from .domain import first_line, report, tex_of, title_math

if TYPE_CHECKING:
    from typing import Any

    from sphinx.application import Sphinx
    from sphinx.builders import Builder
    from sphinx.writers.html5 import HTML5Translator

ASSETS = Path(__file__).parents[2] / '_static'
TEX_FOLDER = '_tex'
# By a script, because browsers refuse to preload a font from file:// and say so on the console; there the style sheet's request is enough.
PRELOAD = (
    '<script>if (location.protocol !== "file:") document.head.append(Object.assign(document.createElement("link"), '
    '{rel: "preload", as: "font", type: "font/woff2", crossOrigin: "anonymous", href: "%s"}))</script>'
)


def _mathml(self: HTML5Translator, node: nodes.Element) -> str:
    tex = tex_of(node)
    display = isinstance(node, nodes.math_block)
    try:
        if self.builder.name != 'epub':
            return convert(tex, display)
        mathml = convert_strictly(tex, display)
        # A title is shown in many places and stripped to text in some: TeX in it would surface there.
        return mathml if isinstance(node, title_math) else with_tex(mathml, tex)
    except MathError as error:
        if not node.get('reported'):  # made after reading, by another extension
            report(node, error, (first_line(node), 0))
        return f'<code class="math-error">{escape(tex)}</code>'


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(self, node))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, 'div', CLASS='math-display'))
    self.body.append(f'<div class="math-scroll">{_mathml(self, node)}</div>')
    if node['number']:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _('Link to this equation'))
        self.body.append('</span>')
    self.body.append('</div>\n')
    raise nodes.SkipNode


def write_assets(app: Sphinx, builder: Builder) -> None:
    if builder.format != 'html':
        return
    static = Path(builder.outdir, '_static')
    static.mkdir(parents=True, exist_ok=True)
    for name in ('math.css', 'math.js'):
        copyfile(ASSETS / name, static / name)
    font.write(app.env.domains['mathml'].characters(), static / font.FILE, Path(app.doctreedir))


def register_assets(app: Sphinx) -> None:
    if app.builder.format == 'html':
        app.add_css_file('math.css')
        if app.builder.name != 'epub':
            app.add_js_file('math.js', loading_method='defer')


def write_tex(app: Sphinx, pagename: str, doctree: nodes.document) -> None:
    """The TeX of the page's formulas in the order in which they stand in its <article>."""
    formulas = [tex_of(node).strip() for node in doctree.findall(lambda node: isinstance(node, (nodes.math, nodes.math_block)))]
    path = Path(app.outdir, TEX_FOLDER, f'{pagename}.js')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'window.bookTex = {json.dumps(formulas, ensure_ascii=False)};\n', encoding='utf-8')


def complete_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Preload the font and name the file of TeX where there is mathematics; a readable <title> where the title has some."""
    if app.builder.name == 'epub':
        return
    if context.get('has_maths_elements') and doctree is not None:
        write_tex(app, pagename, doctree)
        tex = context['pathto'](f'{TEX_FOLDER}/{pagename}.js', resource=True)
        context['metatags'] = context.get('metatags', '') + f'\n<meta name="book-tex" content="{tex}" />'
        context['metatags'] += '\n' + PRELOAD % context['pathto'](f'_static/{font.FILE}', resource=True)
    title = app.env.titles.get(pagename)
    if title is not None and next(title.findall(title_math), None) is not None:
        context['title'] = escape(title.astext())
